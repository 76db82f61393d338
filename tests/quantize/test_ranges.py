"""Ranges from what a float ONNX model computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgekd.core import provenance
from edgekd.core.errors import DataError, ExportError, RecordError, UsageError
from edgekd.quantize import ranges
from tests import nets

# logits = [sum of the pixels, 10 times the first pixel]
WEIGHTS = [[1, 1, 1, 1], [10, 0, 0, 0]]
SHAPE = (1, 2, 2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nets.linear(tmp_path / "model.onnx", WEIGHTS, SHAPE)


def image(*pixels: float) -> np.ndarray:
    return np.array(pixels, np.float32).reshape(1, *SHAPE)


BATCHES = [
    np.concatenate([image(1, 2, 3, 4), image(-1, 0, 0, 0)]),
    image(0, 0, 0, 0),
    np.concatenate([image(0.5, -3, 0, 0), image(0, 0, 0, 5), image(1, 0, 0, 0)]),
]


def test_range_of_each_tensor_is_that_of_its_values(model: Path) -> None:
    found = ranges.calibrate(model, ["images", "flat", "logits"], BATCHES, "minmax")
    assert found == {"images": (-3, 5), "flat": (-3, 5), "logits": (-10, 10)}


@pytest.mark.parametrize("memory", [1, 20, 40, 2**20])
def test_less_memory_gives_the_same_ranges(model: Path, memory: int) -> None:
    names = ["images", "flat", "logits"]
    found = ranges.calibrate(model, names, BATCHES, "mse", memory_bytes=memory)
    assert found == ranges.calibrate(model, names, BATCHES, "mse")


def test_memory_bounds_what_one_run_returns(model: Path) -> None:
    # "flat" has 16 bytes for one image, "logits" 8.
    loaded = ranges._Reader(model, ["flat", "logits"], 50)
    assert [names for names, _ in loaded._sessions] == [["flat", "logits"]]
    assert loaded._run == 2
    loaded = ranges._Reader(model, ["flat", "logits"], 20)
    assert [names for names, _ in loaded._sessions] == [["flat"], ["logits"]]


def test_batches_are_read_once(model: Path) -> None:
    found = ranges.calibrate(model, ["logits"], iter(BATCHES), "minmax", memory_bytes=1)
    assert found == {"logits": (-10, 10)}


def test_model_with_a_fixed_batch_sees_every_image_and_no_other(tmp_path: Path) -> None:
    fixed = nets.linear(tmp_path / "fixed.onnx", WEIGHTS, SHAPE, batch=4, bias_k=[-1, -1])
    # Padding with zeros would show as -1.
    found = ranges.calibrate(fixed, ["logits"], [np.concatenate([image(1, 1, 0, 0)] * 6)], "minmax")
    assert found == {"logits": (0, 9)}


def test_options_reach_the_calibrator(model: Path) -> None:
    found = ranges.calibrate(model, ["images"], BATCHES, "percentile", {"percentile": 50})
    assert found["images"].high < 1


def test_unknown_calibrator_is_refused(model: Path) -> None:
    with pytest.raises(UsageError, match=r"no calibrator is called 'entrpy'.*'entropy'"):
        ranges.calibrate(model, ["images"], BATCHES, "entrpy")


def test_unknown_tensor_is_refused(model: Path) -> None:
    with pytest.raises(ExportError, match="has no tensor 'features'"):
        ranges.calibrate(model, ["features"], BATCHES, "minmax")


def test_images_are_needed(model: Path) -> None:
    with pytest.raises(DataError, match="no calibration images"):
        ranges.calibrate(model, ["images"], [], "minmax")


def test_images_that_are_not_finite_are_refused(model: Path) -> None:
    with pytest.raises(DataError, match="not finite"):
        ranges.calibrate(model, ["images"], [image(0, float("nan"), 0, 0)], "minmax")


def test_tensor_that_overflows_is_refused_by_name(tmp_path: Path) -> None:
    model = nets.linear(tmp_path / "model.onnx", np.full((1, 4), 3e38), SHAPE)
    with pytest.raises(ExportError, match="tensor 'logits' is not finite"):
        ranges.calibrate(model, ["flat", "logits"], [image(2, 2, 2, 2)], "minmax")


def test_dead_tensor_has_an_empty_range(tmp_path: Path) -> None:
    model = nets.linear(tmp_path / "model.onnx", np.zeros((2, 4)), SHAPE)
    for calibrator in ("minmax", "entropy", "percentile", "mse"):
        assert ranges.calibrate(model, ["logits"], BATCHES, calibrator) == {"logits": (0, 0)}


def test_model_file_is_left_as_it_is(model: Path) -> None:
    before = model.read_bytes()
    ranges.calibrate(model, ["flat"], BATCHES, "minmax")
    assert model.read_bytes() == before


def test_random_images_are_the_same_for_the_same_seed() -> None:
    one, other = (list(ranges.random_batches((3, 4, 4), 40, seed=7)) for _ in range(2))
    assert [len(batch) for batch in one] == [32, 8]
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_stored_ranges_are_read_again(tmp_path: Path) -> None:
    stored = ranges.Ranges(
        provenance=provenance.stamp(),
        parents=("ab" * 32,),
        calibrator="entropy",
        images=512,
        low_high={"images": (-2.1, 2.64)},
    )
    ranges.save(tmp_path / "ranges.json", stored)
    assert ranges.load(tmp_path / "ranges.json") == stored
    with pytest.raises(RecordError):
        ranges.load(tmp_path / "other.json")


def test_weights_are_no_outputs_to_watch(model: Path) -> None:
    weights = numpy_helper.to_array(onnx.load(str(model)).graph.initializer[0])
    assert weights.shape == (2, 4)
    with pytest.raises(ExportError, match="has no tensor 'weights'"):
        ranges.calibrate(model, ["weights"], BATCHES, "minmax")
