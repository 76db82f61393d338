import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekd.core.errors import DataError
from edgekd.data.images import ImageSet
from edgekd.data.pack import Pack, write_pack


def arrays() -> dict[str, Any]:
    return {
        "images": np.zeros((2, 4, 5, 3), np.uint8),
        "labels": np.array([0, 1]),
        "classes": np.array(["ant", "bee"]),
    }


def test_a_single_set_comes_back_as_the_test_set(tmp_path: Path, images: ImageSet) -> None:
    path = tmp_path / "pack.npz"
    write_pack(path, images.take(np.array([5, 2, 1])), images.class_names)
    found = Pack(path).read("test")
    assert found is not None
    assert found.sha256 == images.take(np.array([5, 2, 1])).sha256
    assert found.class_names == ("ant", "bee", "cow")
    assert Pack(path).read("train") is None
    assert Pack(path).read("validation") is None


def test_several_sets_come_back_as_they_were(tmp_path: Path, images: ImageSet) -> None:
    path = tmp_path / "pack.npz"
    parts = {"train": images, "test": images.take(np.array([2]))}
    write_pack(path, parts, images.class_names)
    for split, part in parts.items():
        found = Pack(path).read(split)
        assert found is not None
        assert found.sha256 == part.sha256
    assert Pack(path).read("validation") is None


def test_a_pack_is_written_under_the_very_name(tmp_path: Path, images: ImageSet) -> None:
    write_pack(tmp_path / "board.pack", images, images.class_names)
    assert [path.name for path in tmp_path.iterdir()] == ["board.pack"]
    assert Pack(tmp_path / "board.pack").read("test") is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 4, 5, 3), np.float32)}, "expected uint8"),
        ({"images": np.zeros((2, 3, 4, 5), np.uint8)}, "expected uint8"),
        ({"labels": np.array([0, 2])}, "image 1 has label 2; expected 0 to 1"),
        ({"labels": np.array([0])}, r"expected one integer for each of the 2"),
        ({"labels": np.array([0.0, 1.0])}, "expected one integer"),
        ({"classes": np.array([1, 2])}, r"'classes' is int64 \[2\]; expected text \[K\]"),
        ({"classes": np.array("ant")}, r"\[\]; expected text \[K\]"),
        ({"labels": None}, "has no 'labels'; it holds: images, classes"),
        ({"images": None}, "has no 'images'; it holds: labels, classes"),
    ],
)
def test_a_pack_whose_arrays_do_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, NDArray[Any] | None], message: str
) -> None:
    kept = {name: value for name, value in (arrays() | changes).items() if value is not None}
    np.savez(tmp_path / "pack.npz", **kept)
    with pytest.raises(DataError, match=message):
        Pack(tmp_path / "pack.npz").read("test")


class Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, ("was_here",)


def test_pickled_objects_in_a_pack_are_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = arrays() | {"labels": np.array([Payload(), 1], object)}
    np.savez(tmp_path / "pack.npz", **content)
    with pytest.raises(DataError, match=r"cannot be read as an image pack"):
        Pack(tmp_path / "pack.npz").read("test")
    assert not (tmp_path / "was_here").exists()


def test_a_single_array_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"is a single array"):
        Pack(tmp_path / "array.npy").read("test")
    with pytest.raises(DataError, match=r"there is no image pack '.*none\.npz'"):
        Pack(tmp_path / "none.npz")


@given(content=st.binary(max_size=200))
@example(content=b"")
@example(content=b"PK\x05\x06" + bytes(18))
@example(content=b"\x93NUMPY\x01\x00\xff\xff")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_noise_is_a_data_error_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"noise\.npz"):
        Pack(path).read("test")


@given(
    name=st.sampled_from(list(arrays())), position=st.integers(0, 300), value=st.integers(0, 255)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_array_is_a_data_error_and_nothing_else(
    tmp_path: Path, name: str, position: int, value: int
) -> None:
    # Not through a flipped byte of the archive alone: its checksum would tell before numpy reads.
    path = tmp_path / "pack.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for member, array in arrays().items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            content = bytearray(buffer.getvalue())
            if member == name:
                content[position % len(content)] = value
            archive.writestr(f"{member}.npy", bytes(content))
    try:
        found = Pack(path).read("test")
    except DataError:
        return
    assert found is not None
    assert len(found) == len(found.labels_n)
