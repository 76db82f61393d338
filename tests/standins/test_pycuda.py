"""The stand-in for pycuda: contexts, pinned memory, streams that have to be waited for."""

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.standins.networks import Build, convolution
from tests.standins.standin import HERE, load_tensorrt

PARTS = ("pycuda", "pycuda.driver")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(HERE)
    for name in PARTS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("pycuda.driver")
    for name in PARTS:
        sys.modules.pop(name, None)


@pytest.fixture
def cuda(driver: Any) -> Iterator[Any]:
    driver.init()
    context = driver.Device(0).retain_primary_context()
    context.push()
    yield driver
    context.pop()


def test_init_comes_first(driver: Any) -> None:
    with pytest.raises(driver.LogicError, match="init"):
        driver.Device(0)


def test_a_machine_without_gpu_is_an_error(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_STANDIN_GPUS", "0")
    with pytest.raises(driver.RuntimeError, match="no CUDA-capable device"):
        driver.init()


def test_all_errors_are_of_one_kind(driver: Any) -> None:
    kinds = (driver.LogicError, driver.LaunchError, driver.MemoryError, driver.RuntimeError)
    assert all(issubclass(kind, driver.Error) for kind in kinds)
    assert not issubclass(driver.Error, RuntimeError)


def test_a_context_is_of_its_thread(cuda: Any) -> None:
    found: list[Any] = []

    def elsewhere() -> None:
        try:
            cuda.mem_alloc(4)
        except cuda.Error as error:
            found.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert isinstance(found[0], cuda.LogicError)
    assert int(cuda.mem_alloc(4))


def test_popping_more_than_was_pushed_is_an_error(driver: Any) -> None:
    driver.init()
    with pytest.raises(driver.LogicError, match="cannot pop"):
        driver.Context.pop()


def test_copies_wait_for_their_stream(cuda: Any) -> None:
    source, target = (cuda.pagelocked_empty((4,), np.float32) for _ in range(2))
    source[:], target[:] = [1, 2, 3, 4], 0
    memory, stream = cuda.mem_alloc(source.nbytes), cuda.Stream()
    cuda.memcpy_htod_async(memory, source, stream)
    cuda.memcpy_dtoh_async(target, memory, stream)
    assert not target.any()
    stream.synchronize()
    assert target.tolist() == [1, 2, 3, 4]


def test_asynchronous_copies_want_pinned_memory(cuda: Any) -> None:
    memory, stream = cuda.mem_alloc(16), cuda.Stream()
    with pytest.raises(cuda.LogicError, match="page-locked"):
        cuda.memcpy_htod_async(memory, np.zeros(4, np.float32), stream)
    cuda.memcpy_htod(memory, np.ones(4, np.float32))
    result = np.zeros(4, np.float32)
    cuda.memcpy_dtoh(result, memory)
    assert result.tolist() == [1] * 4


def test_copies_want_contiguous_arrays(cuda: Any) -> None:
    pinned = cuda.pagelocked_empty((4, 4), np.float32)
    with pytest.raises(ValueError, match="contiguous"):
        cuda.memcpy_htod_async(cuda.mem_alloc(64), pinned[:, :2], cuda.Stream())


def test_copies_stay_inside_the_memory(cuda: Any) -> None:
    pinned = cuda.pagelocked_empty((8,), np.float32)
    with pytest.raises(cuda.LogicError, match="device memory"):
        cuda.memcpy_htod_async(cuda.mem_alloc(16), pinned, cuda.Stream())


def test_pinned_memory_must_live_until_it_is_copied(cuda: Any) -> None:
    stream, memory = cuda.Stream(), cuda.mem_alloc(16)
    cuda.memcpy_htod_async(memory, cuda.pagelocked_empty((4,), np.float32), stream)
    with pytest.raises(cuda.LaunchError, match="gone"):
        stream.synchronize()


def test_memory_is_freed_once_and_is_limited(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = cuda.mem_alloc(16)
    memory.free()
    with pytest.raises(cuda.LogicError, match="already freed"):
        memory.free()
    monkeypatch.setenv("EDGEKD_STANDIN_DEVICE_BYTES", "8")
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        cuda.mem_alloc(16)


def test_events_time_what_lies_between_them(cuda: Any) -> None:
    stream, start, end = cuda.Stream(), cuda.Event(), cuda.Event()
    start.record(stream)
    end.record(stream)
    with pytest.raises(cuda.LogicError, match="not ready"):
        end.time_since(start)
    end.synchronize()
    assert end.time_since(start) >= 0
    assert start.time_till(end) == end.time_since(start)


def test_there_is_no_api_for_graphs(cuda: Any) -> None:
    everything = {*dir(cuda), *dir(cuda.Stream), *dir(cuda.Context)}
    assert not [name for name in everything if "capture" in name.lower() or "graph" in name.lower()]


def test_autoinit_would_make_a_second_context(driver: Any) -> None:
    with pytest.raises(ImportError):
        importlib.import_module("pycuda.autoinit")


def test_an_engine_works_in_the_order_of_a_pycuda_stream(cuda: Any, tmp_path: Path) -> None:
    trt: ModuleType = load_tensorrt("10.3.0")
    source = cuda.pagelocked_empty((2, 3, 8, 8), np.float32)
    target = cuda.pagelocked_empty((2, 4, 8, 8), np.float32)
    source[...], target[...] = 1, -1
    inside, outside = cuda.mem_alloc(source.nbytes), cuda.mem_alloc(target.nbytes)
    stream = cuda.Stream()
    context = Build(trt, convolution(tmp_path)).engine().create_execution_context()
    context.set_tensor_address("x", int(inside))
    context.set_tensor_address("y", int(outside))
    cuda.memcpy_htod_async(inside, source, stream)
    assert context.execute_async_v3(stream.handle)
    cuda.memcpy_dtoh_async(target, outside, stream)
    assert (target == -1).all()
    stream.synchronize()
    assert (target >= 0).all()
    assert target.any()
