"""Quantisation-aware distillation through the whole job, and on files."""

import json

import numpy as np
import onnx
import pytest

from edgekd.core import run_folder, specs
from edgekd.core.errors import UsageError
from edgekd.core.run_folder import Run
from edgekd.export.graph import Graph
from edgekd.models import checkpoint, fake_quant
from edgekd.pipeline import quantized
from edgekd.pipeline import run as job
from edgekd.quantize.qat import Int8

from .conftest import SMALL

TARGETS = ("tensorrt-int8", "onnx-int8")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose student is quantised with W8A8 before it is distilled."""
    folder = tmp_path_factory.mktemp("taught") / "digits"
    mine = [
        "student.quantize={calibration_images=64}",
        "student.prune.macs=0.5",
        "teacher.train.epochs=10",  # there must be something to learn from
        "stages.1.epochs=4",
        f"export.targets={list(TARGETS)}",
    ]
    recipe = specs.load("digits", [*SMALL, *mine])
    return job.run(recipe, folder, name="digits")


def test_the_student_is_trained_for_the_first_int8_target(taught: Run) -> None:
    last = checkpoint.load(run_folder.checkpoint(taught.folder, "deep"))
    layers = last.quantisation.layers
    assert {(p.weights, p.activations, p.signed) for p in layers.values()} == {(8, 8, True)}


def test_what_the_target_leaves_in_float_is_trained_in_float(taught: Run) -> None:
    last = checkpoint.load(run_folder.checkpoint(taught.folder, "deep"))
    artifact = taught.artifacts[TARGETS[0]]
    assert "linear" not in last.quantisation.layers  # ten outputs are too few for tensor cores
    assert artifact.quantised_layers == len(last.quantisation.layers)
    assert artifact.notes[1].startswith("float, as in training:")


def test_distilling_moves_the_steps_that_calibration_gave(taught: Run) -> None:
    before, after = (
        fake_quant.grids(checkpoint.load(run_folder.checkpoint(taught.folder, name)).module)
        for name in ("quantized", "deep")
    )
    assert before.keys() == after.keys()
    assert sum(after[name].step != grid.step for name, grid in before.items()) > len(before) / 2
    path = run_folder.checkpoint(taught.folder, "deep") / "training.json"
    last = json.loads(path.read_text())["epochs"][-1]
    assert any(name.startswith("fdkd") for name in last["terms"]), last["terms"]


@pytest.mark.parametrize("target", TARGETS)
def test_every_int8_file_takes_the_ranges_of_training(taught: Run, target: str) -> None:
    artifact = taught.artifacts[target]
    assert "ranges come from training" in artifact.notes[0]
    assert artifact.parity.state == "passed"
    assert artifact.parity.top1_agreement_ratio > 0.95
    lost = taught.accuracies["deep"].correct - taught.accuracies[target].correct
    assert abs(lost) <= 15  # of 719 test images, after one epoch


def test_scales_of_the_target_that_it_was_trained_for_are_its_steps(taught: Run) -> None:
    module = checkpoint.load(run_folder.checkpoint(taught.folder, "deep")).module
    path = run_folder.artifact(taught.folder, TARGETS[0]) / "model.onnx"
    graph = Graph(onnx.load(str(path)))
    step = fake_quant.grids(module)["layer2.0.conv2"].step
    node = next(node for node in graph.nodes if node.name == "layer2.0.conv2/Conv")
    assert graph.constant(graph.producer(node.input[0]).input[1]) == np.float32(step)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ((), None),
        (("onnx-fp32", "onnx-fp16"), None),
        (("onnx-fp32", "tensorrt-int8", "onnx-int8"), "tensorrt-int8"),
    ],
)
def test_training_aims_at_the_first_target_with_int8(
    targets: tuple[str, ...], expected: str | None
) -> None:
    assert quantized.aimed(specs.Quantize(), targets).target == expected
    own = specs.Quantize(target="onnx-int8")
    assert quantized.aimed(own, targets) == own


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, Int8(8, symmetric=False)),
        ("onnx-int8", Int8(7, symmetric=False)),
        ("tensorrt-int8", Int8(8, symmetric=True)),
    ],
)
def test_numbers_are_those_of_the_target(target: str | None, expected: Int8) -> None:
    assert quantized.int8_of(specs.Quantize(target=target)) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (specs.Quantize(target="onnx-fp32"), "has no INT8"),
        (specs.Quantize(target="onnx-int9"), "onnx-int8"),
        (specs.Quantize(calibrator="entropi"), "entropy"),
    ],
)
def test_what_cannot_be_aimed_at_is_refused_with_a_way_out(
    spec: specs.Quantize, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        quantized.int8_of(spec)
