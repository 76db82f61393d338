import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekd.core.errors import DataError
from edgekd.data import unpickle

Published = Callable[[dict[str, Any]], bytes]


def test_a_file_as_python_2_wrote_it_is_read(tmp_path: Path, published: Published) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "data_batch_1"
    path.write_bytes(published({"data": array, "labels": [3, 9], "batch_label": "batch 1"}))
    found = unpickle.read(path)
    assert found["labels"] == [3, 9]
    assert found["batch_label"] == b"batch 1"
    assert found["data"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_tests_own_writer_makes_what_pickle_itself_reads(published: Published) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    found = pickle.loads(published({"data": array, "labels": [3, 9]}), encoding="bytes")
    assert found[b"labels"] == [3, 9]
    assert (found[b"data"] == array).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_as_python_3_writes_it_is_read(tmp_path: Path, order: Any) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3).copy(order)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": array, "labels": [3, 9]}, protocol=4))
    assert unpickle.read(path)["data"].tolist() == [[0, 1, 2], [3, 4, 5]]


class Payload:
    """Unpickling this calls a function with arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def evil(marker: Path) -> dict[str, bytes]:
    command = f"touch {marker}"
    inside = pickle.dumps(Payload(os.system, command), protocol=2)[2:-1]
    stand_in = b"cnumpy.core.multiarray\n_reconstruct\n"
    return {
        "as the whole file": pickle.dumps(Payload(os.system, command)),
        "in a list": pickle.dumps({"labels": [Payload(os.system, command)]}),
        "by eval": pickle.dumps(Payload(eval, f"__import__('os').system('{command}')")),
        "as an argument of what is allowed": b"\x80\x02" + stand_in + b"(" + inside + b"tR.",
        "as the state of what is allowed": b"\x80\x02" + stand_in + b")R" + inside + b"b.",
        "through an attribute of numpy": b"\x80\x02cnumpy.f2py\nos.system\n" + inside + b"\x85R.",
    }


@pytest.mark.parametrize("way", list(evil(Path("x"))))
def test_a_malicious_file_is_refused_and_its_payload_never_runs(tmp_path: Path, way: str) -> None:
    marker = tmp_path / "was_here"
    path = tmp_path / "data_batch_1"
    path.write_bytes(evil(marker)[way])
    with pytest.raises(DataError, match=r"no published CIFAR file does"):
        unpickle.read(path)
    assert not marker.exists()


def test_the_payload_of_these_tests_would_run_under_plain_pickle(tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    pickle.loads(evil(marker)["in a list"])
    assert marker.exists()


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array(["a"]), np.zeros(2, np.float32), np.zeros(2, np.int64)]
)
def test_an_array_of_anything_but_bytes_is_refused(tmp_path: Path, array: Any) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": array}, protocol=4))
    with pytest.raises(DataError, match=r"not of plain bytes"):
        unpickle.read(path)


def test_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"holds a list, not a dictionary"):
        unpickle.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file '.*meta'"):
        unpickle.read(tmp_path / "meta")


@given(content=st.binary(max_size=200))
@example(content=b"")
@example(content=b"\x80\x02cnumpy\nndarray\n.")  # a name by itself
@example(content=b"\x80\x02cnumpy\nndarray\n)\x81N}b.")
@example(content=b"\x80\x02cnumpy\nndarray\n)R(K\x01K\x02tb.")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_noise_is_a_data_error_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert isinstance(unpickle.read(path), dict)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), length=st.integers(0, 10**6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_a_data_error_and_nothing_else(
    tmp_path: Path, published: Published, position: int, value: int, length: int
) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(2, 6)
    content = bytearray(published({"data": array, "labels": [3, 9]}))
    content[position % len(content)] = value
    path = tmp_path / "damaged"
    path.write_bytes(content[: length % (2 * len(content))])
    with contextlib.suppress(DataError):
        assert isinstance(unpickle.read(path), dict)
