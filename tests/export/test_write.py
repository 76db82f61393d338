"""Export from checkpoint to artifact."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn

from edgekd.core import catalogue, records
from edgekd.core.errors import DataError, ExportError, UsageError
from edgekd.export import metadata, runtime, write
from edgekd.export.platform import Platform
from edgekd.export.target import Target
from edgekd.lint import run as lint
from edgekd.lint.model import Graph as LintGraph
from edgekd.lint.model import Version
from edgekd.models.checkpoint import Model
from tests.export import graphs, trt_rules
from tests.export.conftest import calibration, make_images, make_model


def artifact(folder: Path) -> records.Artifact:
    return records.read(records.Artifact, folder / "artifact.json")


@pytest.mark.parametrize("name", catalogue.names("export"))
def test_record_describes_the_file(exports: dict[str, Path], name: str) -> None:
    found = artifact(exports[name])
    path = exports[name] / found.file
    records.check_file(path, found.sha256)
    assert found.precision == Target.read(name).precision
    assert found.bytes == path.stat().st_size
    assert found.opset == onnx.load(str(path)).opset_import[0].version
    assert found.parents == ("ab" * 32,)
    onnx.checker.check_model(str(path), full_check=True)


@pytest.mark.parametrize("name", catalogue.names("export"))
def test_artifact_computes_what_its_checkpoint_does(exports: dict[str, Path], name: str) -> None:
    parity = artifact(exports[name]).parity
    assert parity.state == "passed"
    assert parity.images == 32
    error, cosine = {"fp32": (1e-4, 0.9999), "fp16": (0.01, 0.9999), "int8": (0.25, 0.98)}[
        Target.read(name).precision
    ]
    assert parity.relative_error < error
    assert parity.cosine > cosine


def test_layers_are_counted_in_the_written_graph(exports: dict[str, Path]) -> None:
    counts = {
        name: (found.quantised_layers, found.float_layers)
        for name, folder in exports.items()
        for found in [artifact(folder)]
    }
    quantised = {"onnx-int8", "tensorrt-int8", "tensorrt-int8-fp16"}
    assert counts == {name: (3, 0) if name in quantised else (0, 3) for name in exports}


@pytest.mark.parametrize("name", ["tensorrt-int8", "tensorrt-int8-fp16"])
def test_exported_network_keeps_the_rules_of_tensorrt(exports: dict[str, Path], name: str) -> None:
    assert trt_rules.faults(onnx.load(str(exports[name] / "model.onnx"))) == []


@pytest.mark.parametrize(
    ("name", "version"), [("tensorrt-int8-fp16", (10, 3)), ("tensorrt-fp16-dla", (8, 5))]
)
def test_linter_finds_no_error(exports: dict[str, Path], name: str, version: Version) -> None:
    model = onnx.load(str(exports[name] / "model.onnx"))
    graph = LintGraph(model, dla=Target.read(name).dla)
    assert lint.lint(graph, [version]).count("error") == 0


def test_mixed_file_computes_in_int8_and_fp16_alone(exports: dict[str, Path]) -> None:
    model = onnx.load(str(exports["tensorrt-int8-fp16"] / "model.onnx"))
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    scales = [node.input[1] for node in model.graph.node if "Linear" in node.op_type]
    assert {constants[name] for name in scales} == {TensorProto.FLOAT16}
    assert TensorProto.FLOAT not in constants.values()
    sides = [
        value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
    ]
    assert sides == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert artifact(exports["tensorrt-int8-fp16"]).notes == ()


def test_mixed_file_has_the_logits_of_the_int8_file(exports: dict[str, Path]) -> None:
    images_nchw = make_images(32)
    paths = [exports[name] / "model.onnx" for name in ("tensorrt-int8", "tensorrt-int8-fp16")]
    whole_nk, mixed_nk = (runtime.logits(path, images_nchw) for path in paths)
    assert float(np.abs(whole_nk - mixed_nk).max()) < 0.1 * float(whole_nk.std())


@pytest.mark.parametrize(
    ("name", "opset", "typing"),
    [("jp4.6", 13, "weak"), ("jp5.1", 17, "weak"), ("jp6.2", 19, "strong")],
)
def test_platform_settles_opset_and_ir_version(
    small: Model, tmp_path: Path, name: str, opset: int, typing: str
) -> None:
    platform = Platform.read(name)
    found = write.export(
        small,
        Target.read("tensorrt-fp16"),
        tmp_path,
        parity_nchw=make_images(32),
        platform=platform,
    )
    written = onnx.load(str(tmp_path / "model.onnx"))
    assert (written.opset_import[0].version, written.ir_version) == (opset, platform.ir_version)
    assert (found.opset, found.ir_version, found.platform) == (opset, platform.ir_version, name)
    assert (found.typing, found.parity.state) == (typing, "passed")


def test_dynamic_batch_has_its_profile_in_file_and_record(small: Model, tmp_path: Path) -> None:
    target = Target.read("tensorrt-fp16").at_batch("1:4:16")
    found = write.export(small, target, tmp_path, parity_nchw=make_images(5))
    told = metadata.read(tmp_path / "model.onnx")
    assert found.profiles == told.profiles
    assert found.profiles["images"].max == (16, 3, 16, 16)
    assert told.batch is None


def test_fixed_batch_has_no_profile(exports: dict[str, Path]) -> None:
    assert artifact(exports["tensorrt-int8"]).profiles == {}


def test_runtime_computes_the_exported_network_in_integers(
    exports: dict[str, Path], tmp_path: Path
) -> None:
    found = graphs.optimised(onnx.load(str(exports["onnx-int8"] / "model.onnx")), tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (2, 1, 1)
    assert not {"Conv", "Relu", "Gemm", "DequantizeLinear"} & set(found)


def test_calibration_is_noted_for_int8_alone(exports: dict[str, Path]) -> None:
    assert artifact(exports["onnx-int8"]).calibration == "minmax on 128 training images"
    assert artifact(exports["onnx-fp32"]).calibration is None


def test_random_calibration_is_stamped(small: Model, tmp_path: Path) -> None:
    random = write.Calibration(calibration(make_images(8)).ranges, "random", valid=False)
    found = write.export(
        small,
        Target.read("tensorrt-int8"),
        tmp_path,
        parity_nchw=make_images(4),
        calibration=random,
    )
    assert not found.accuracy_valid


def test_int8_without_images_is_refused(small: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs images for calibration"):
        write.export(small, Target.read("onnx-int8"), tmp_path, parity_nchw=make_images(4))


@pytest.mark.parametrize("shape", [(0, 3, 16, 16), (4, 3, 8, 8)])
def test_parity_needs_images_of_the_models_shape(
    small: Model, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    images_nchw = np.zeros(shape, np.float32)
    with pytest.raises(DataError, match="parity needs images"):
        write.export(small, Target.read("onnx-fp32"), tmp_path, parity_nchw=images_nchw)


class Moody(nn.Module):
    """Computes something else while it is exported than before."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 3)

    def forward(self, images_nchw: Tensor) -> Tensor:
        factor = 2.0 if torch.compiler.is_exporting() else 1.0
        logits_nk: Tensor = factor * self.linear(images_nchw.flatten(1))
        return logits_nk


def test_failed_parity_leaves_nothing_behind(tmp_path: Path) -> None:
    model = make_model(Moody(), (3, 2, 2), classes=3)
    out = tmp_path / "out"
    with pytest.raises(ExportError, match="does not compute what its checkpoint does"):
        write.export(model, Target.read("onnx-fp32"), out, parity_nchw=make_images(8, (3, 2, 2)))
    assert not out.exists()


def test_failed_calibration_leaves_the_last_artifact_alone(
    small: Model, exports: dict[str, Path]
) -> None:
    out = exports["onnx-int8"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(path: Path, tensors: list[str]) -> dict[str, tuple[float, float]]:
        raise ExportError("no range")

    with pytest.raises(ExportError, match="no range"):
        write.export(
            small,
            Target.read("onnx-int8"),
            out,
            parity_nchw=make_images(4),
            calibration=write.Calibration(fail, "broken"),
        )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_file_tells_its_classes_and_how_to_prepare_images(exports: dict[str, Path]) -> None:
    model = onnx.load(str(exports["onnx-int8"] / "model.onnx"))
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(notes["classes"]) == [str(index) for index in range(20)]
    assert json.loads(notes["preprocessing"])["size"] == [16, 16]
    assert notes["edgekd.target"] == "onnx-int8"
