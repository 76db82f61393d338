"""One small run of the whole job, shared by the tests that only read it."""

import pytest

from edgekd.core import specs
from edgekd.core.run_folder import Run
from edgekd.pipeline import run as job

SMALL = [
    "teacher.train.epochs=2",
    "stages.0.epochs=1",
    "stages.1.epochs=1",
    "data.train_images=256",
    "student.prune.recalibrate_images=128",
    "export.targets=['onnx-int8']",
    "export.calibration_images=32",
    "profile.blocks=6",
    "profile.runs=5",
]


@pytest.fixture(scope="session")
def small() -> specs.Recipe:
    """The digits recipe, cut down to seconds; its verdict means nothing."""
    return specs.load("digits", SMALL)


@pytest.fixture(scope="session")
def finished(small: specs.Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that went through; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("run") / "digits"
    return job.run(small, folder, name="digits")
