"""What the job exports, beside INT8: FP16 files, and golden pairs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.core import records, run_folder, specs
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.data import sources
from edgekd.export import golden
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.pipeline import artifacts
from edgekd.pipeline import run as job

from .conftest import SMALL


@pytest.fixture(scope="module")
def halved(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run, exported to the FP16 targets instead."""
    folder = tmp_path_factory.mktemp("halved") / "digits"
    shutil.copytree(finished.folder, folder)
    wanted = ["export.targets=['onnx-fp16','tensorrt-fp16']", "export.platform=jp6.2"]
    recipe = specs.load("digits", [*SMALL, *wanted])
    return job.run(recipe, folder, name="digits", resume=True)


def test_fp16_artifacts_go_all_the_way_to_the_report(halved: Run) -> None:
    assert list(halved.artifacts) == [REFERENCE, "onnx-fp16", "tensorrt-fp16"]
    assert halved.verdict is not None
    judged = {finding.artifact for finding in halved.verdict.findings}
    assert {"onnx-fp16", "tensorrt-fp16"} <= judged
    assert "onnx-fp16" in (halved.folder / "report.html").read_text()


def test_platform_shapes_the_targets_for_tensorrt_alone(halved: Run) -> None:
    found = {name: (one.platform, one.opset) for name, one in halved.artifacts.items()}
    assert found["tensorrt-fp16"] == ("jp6.2", 19)
    assert found["onnx-fp16"] == found[REFERENCE] == (None, 18)


def test_fp16_artifact_decides_as_its_checkpoint_does(halved: Run) -> None:
    for name in ("onnx-fp16", "tensorrt-fp16"):
        assert halved.artifacts[name].precision == "fp16"
        assert halved.artifacts[name].parity.state == "passed"
        lost = halved.accuracies["deep"].correct - halved.accuracies[name].correct
        assert abs(lost) <= 2, name


def test_every_artifact_has_golden_pairs_of_training_images(halved: Run) -> None:
    recipe = specs.load("digits", SMALL)
    train = sources.load(recipe.data, seed=recipe.training.seed).train
    known = {image.tobytes() for image in train.batch(np.arange(len(train)))}
    for name, artifact in halved.artifacts.items():
        path = run_folder.artifact(halved.folder, name) / golden.FILE
        assert artifact.golden_sha256 is not None
        records.check_file(path, artifact.golden_sha256)
        images_nhwc, logits_nk = golden.read(path)
        assert (len(images_nhwc), logits_nk.shape) == (16, (16, 10))
        assert {image.tobytes() for image in images_nhwc} <= known, name


def test_random_images_make_no_golden_pairs(finished: Run, tmp_path: Path) -> None:
    artifact = artifacts.export(
        checkpoint.load(run_folder.checkpoint(finished.folder, "deep")),
        Target.read("onnx-fp16"),
        specs.Export(),
        None,
        tmp_path,
        random=True,
    )
    assert artifact.golden_sha256 is None
    assert not (tmp_path / golden.FILE).exists()


def test_a_checkpoint_that_says_the_same_of_all_images_proves_no_parity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = checkpoint.open_model("digits_resnet", classes=10)
    torch.nn.init.zeros_(model.module.get_submodule("linear").weight)
    target, spec = Target.read("onnx-fp32"), specs.Export(targets=("onnx-fp32",))
    made = artifacts.export(model, target, spec, None, tmp_path / "out", seed=0, random=True)
    assert made.parity.state == "inconclusive"
    assert "says nearly the same of every image" in caplog.text
    assert "ladder" not in caplog.text
