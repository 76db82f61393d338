"""Golden pairs beside an artifact."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.agent import infer
from edgekd.core import catalogue, records
from edgekd.core.errors import DataError, RecordError
from edgekd.export import golden, runtime, write
from edgekd.export.target import Target
from edgekd.models.checkpoint import Model
from tests.export.conftest import calibration, make_images


def pixels(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def export(model: Model, name: str, out: Path, pairs: NDArray[np.uint8] | None) -> records.Artifact:
    return write.export(
        model,
        Target.read(name),
        out,
        parity_nchw=make_images(4),
        calibration=calibration(make_images(16)),
        golden_nhwc=pairs,
    )


@pytest.mark.parametrize("name", catalogue.names("export"))
def test_logits_are_those_of_the_exported_file(small: Model, tmp_path: Path, name: str) -> None:
    found = export(small, name, tmp_path, pixels())
    assert found.golden_sha256 is not None
    records.check_file(tmp_path / golden.FILE, found.golden_sha256)
    images_nhwc, logits_nk = golden.read(tmp_path / golden.FILE)
    norm = found.normalisation
    prepared_nchw = infer.normalise(images_nhwc, norm.mean, norm.std)
    again_nk = runtime.logits(tmp_path / found.file, prepared_nchw)
    assert np.array_equal(images_nhwc, pixels())
    assert logits_nk.dtype == np.float32
    assert np.array_equal(logits_nk, again_nk)


def test_without_real_images_there_are_no_pairs_not_even_old_ones(
    small: Model, tmp_path: Path
) -> None:
    export(small, "onnx-fp32", tmp_path, pixels())
    found = export(small, "onnx-fp32", tmp_path, None)
    assert found.golden_sha256 is None
    assert not (tmp_path / golden.FILE).exists()


def test_pairs_of_another_size_are_refused(small: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="golden pairs"):
        export(small, "onnx-fp32", tmp_path / "out", pixels()[:, :8])
    assert not (tmp_path / "out").exists()


def test_the_same_pairs_give_the_same_bytes(tmp_path: Path) -> None:
    logits_nk = np.ones((3, 2), np.float32)
    for name in ("one", "other"):
        golden.write(tmp_path / name, pixels(), logits_nk)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_file_that_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(RecordError, match="holds no golden pairs"):
        golden.read(path)
    with path.open("wb") as file:
        np.savez(file, images=pixels(), logits=np.ones((2, 5), np.float32))
    with pytest.raises(RecordError, match="expected uint8"):
        golden.read(path)
