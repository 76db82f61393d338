from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.agent import infer
from edgekd.agent.protocol import AgentError
from tests import nets

# Two classes: the sum of the first row of pixels, the sum of the second.
WEIGHTS = [[1, 1, 0, 0], [0, 0, 1, 1]]


def logits(folder: Path, model: Path, pixels_nhwc: np.ndarray, **changes: Any) -> np.ndarray:
    np.save(folder / "images.npy", pixels_nhwc)
    infer.infer(
        {
            "engine": "onnxruntime",
            "model": str(model),
            "images": str(folder / "images.npy"),
            "mean": [0.0],
            "std": [1.0],
            "batch": 2,
            "threads": 1,
            "logits": str(folder / "logits.npy"),
            **changes,
        }
    )
    return np.load(folder / "logits.npy", allow_pickle=False)


@pytest.mark.parametrize("batch", ["N", 1, 2, 4])
def test_logits_are_those_worked_out_by_hand_also_in_the_last_partial_batch(
    tmp_path: Path, batch: int | str
) -> None:
    model = nets.linear(tmp_path / "net.onnx", WEIGHTS, (1, 2, 2), batch)
    pixels = np.array(
        [[[0, 255], [0, 0]], [[51, 0], [51, 51]], [[0, 0], [0, 102]]], dtype=np.uint8
    )[..., np.newaxis]
    found = logits(tmp_path, model, pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 0], [0.2, 0.4], [0, 0.4]], atol=1e-6)


def test_colours_reach_the_model_channel_by_channel(tmp_path: Path) -> None:
    # One pixel, three channels; the logits are the channels themselves.
    model = nets.linear(tmp_path / "net.onnx", np.eye(3), (3, 1, 1))
    pixels = np.array([255, 51, 0], dtype=np.uint8).reshape(1, 1, 1, 3)
    found = logits(tmp_path, model, pixels, mean=[0.5, 0.2, 0.0], std=[0.5, 1.0, 2.0])
    np.testing.assert_allclose(found, [[1.0, 0.0, 0.0]], atol=1e-6)


def test_pixels_are_the_same_bits_as_in_training() -> None:
    import torch

    from edgekd.core.records import Normalisation
    from edgekd.data import augment

    pixels = np.arange(2 * 16 * 8 * 3, dtype=np.uint8).reshape(2, 16, 8, 3)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    ours = infer.normalise(pixels, mean, std)
    theirs = augment.normalise(pixels, Normalisation(mean=mean, std=std), torch.device("cpu"))
    assert np.array_equal(ours, theirs.numpy())
    assert ours.flags.c_contiguous


def test_a_mean_too_few_is_refused() -> None:
    with pytest.raises(AgentError, match="3 channels"):
        infer.normalise(np.zeros((1, 2, 2, 3), np.uint8), [0.0], [1.0])


def test_a_model_without_one_row_for_each_image_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    node = helper.make_node("Relu", ["images"], ["logits"])
    model = nets.write(tmp_path / "net.onnx", [node], ("N", 1, 2, 2), ("N", 1, 2, 2))
    with pytest.raises(AgentError, match="one row of logits for each image"):
        logits(tmp_path, model, np.zeros((1, 2, 2, 1), np.uint8))
