"""Files that others made, and edgekd's own."""

from pathlib import Path

import pytest
import torch

from edgekd.export.target import Target
from edgekd.export.write import export
from edgekd.lint import run
from edgekd.lint.fix import fix
from edgekd.lint.model import Graph, load
from edgekd.models import build
from tests.export.conftest import calibration, make_images, make_model, settle


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The digits network as the target tensorrt-int8 writes it."""
    shape = build.defaults("digits_resnet").input_shape
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = settle(build.build("digits_resnet", 10), make_images(64, shape))
    model, folder = make_model(module, shape, 10), tmp_path_factory.mktemp("digits")
    record = model.record.model_copy(
        update={
            "normalisation": model.record.normalisation.model_copy(
                update={"mean": (0.5,) * shape[0], "std": (0.25,) * shape[0]}
            )
        }
    )
    object.__setattr__(model, "record", record)
    export(
        model, Target.read("tensorrt-int8"), folder / "int8",
        parity_nchw=make_images(32, shape), calibration=calibration(make_images(128, shape)),
    )  # fmt: skip
    return load(folder / "int8" / "model.onnx")


@pytest.mark.parametrize("version", run.USUAL)
def test_what_edgekd_exports_has_no_errors(digits: Graph, version: tuple[int, int]) -> None:
    found = run.lint(digits, [version]).findings
    assert [finding for finding in found if finding.severity == "error"] == []
    assert digits.labelled_int8


def test_what_edgekd_exports_needs_no_mending(digits: Graph) -> None:
    assert fix(digits)[1] == []


def files(shared_data: Path) -> list[Path]:
    found = sorted((shared_data / "onnx").glob("*.onnx"))
    assert found
    return found


def test_third_parties_files_are_judged(shared_data: Path) -> None:
    for path in files(shared_data):
        graph = load(path)
        run.lint(graph)
        mended, _ = fix(graph)
        run.lint(Graph(mended))


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("trt_qdq_conv", {"Q001", "Q002", "Q005"}),  # unsigned, not symmetric, per channel
        ("qonnx_espcn_quant", {"T001"}),  # an operator of its own
        ("squeezenet1_1_fp16_opset7", set()),  # TensorRT 8 read old opsets
        ("superres_pytorch_opset15", set()),
        ("polygraphy_bad_graph", {"T012"}),  # broken on purpose
    ],
)
def test_errors_are_those_that_the_file_is_known_for(
    shared_data: Path, name: str, rules: set[str]
) -> None:
    found = run.lint(load(shared_data / "onnx" / f"{name}.onnx"), [(8, 6)]).findings
    assert {finding.rule for finding in found if finding.severity == "error"} == rules
