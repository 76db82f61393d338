"""What the agent asks of a GPU, on the stand-in for libcudart and (`-m gpu`) on a real one."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.agent import cuda, telemetry
from edgekd.agent.cuda.memory import Meter
from edgekd.agent.cuda.runtime import CudaError, version_text
from edgekd.agent.protocol import AgentError
from tests.standins.cudart import bindings, build


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.library(tmp_path_factory.mktemp("cudart"))


STANDINS = Path(__file__).parents[1] / "standins"
KINDS = [
    "libcudart",
    "cuda-python",
    "pycuda",
    pytest.param("real", marks=pytest.mark.gpu),  # the library that EDGEKD_CUDA names
]


@pytest.fixture(params=KINDS)
def gpu(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, library: Path
) -> Iterator[cuda.Cuda]:
    if request.param == "real":
        opened = real()
    else:
        monkeypatch.setenv("EDGEKD_CUDART", str(library))
        monkeypatch.syspath_prepend(str(STANDINS))
        monkeypatch.setitem(sys.modules, "cuda.bindings", bindings.over_libcudart())
        opened = cuda.open_cuda(request.param)
    yield opened
    opened.close()


def real() -> cuda.Cuda:
    try:
        return cuda.open_cuda()
    except AgentError as error:
        pytest.skip(f"no CUDA device: {error}")


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch, library: Path) -> Iterator[cuda.Cuda]:
    monkeypatch.setenv("EDGEKD_CUDART", str(library))
    opened = cuda.open_cuda("libcudart")
    yield opened
    opened.close()


def pinned(gpu: cuda.Cuda, values: list[float]) -> np.ndarray:
    array = gpu.pinned((len(values),), np.float32)
    array[:] = values
    return array


def there_and_back(gpu: cuda.Cuda, source: np.ndarray, target: np.ndarray) -> Callable[[], bool]:
    address = gpu.alloc(source.nbytes)

    def work() -> bool:
        gpu.upload(address, source)
        gpu.download(target, address)
        return True

    return work


def test_what_goes_up_comes_down_again(gpu: cuda.Cuda) -> None:
    source, target = pinned(gpu, [1, 2, 3]), pinned(gpu, [0, 0, 0])
    there_and_back(gpu, source, target)()
    gpu.synchronise()
    assert target.tolist() == [1, 2, 3]


def test_a_graph_repeats_what_was_captured_on_new_values(gpu: cuda.Cuda) -> None:
    source, target = pinned(gpu, [1, 2]), pinned(gpu, [0, 0])
    graph = gpu.capture(there_and_back(gpu, source, target))
    assert (graph is not None) == gpu.graphs
    gpu.synchronise()
    assert target.tolist() == [0, 0]  # capturing does nothing yet
    for values in ([3, 4], [5, 6]) if gpu.graphs else ():
        source[:] = values
        gpu.launch(graph)
        gpu.synchronise()
        assert target.tolist() == values


def test_work_that_says_no_gives_no_graph_and_the_stream_goes_on(gpu: cuda.Cuda) -> None:
    assert gpu.capture(lambda: False) is None
    test_what_goes_up_comes_down_again(gpu)


def test_work_that_waits_cannot_be_captured_and_the_stream_goes_on(gpu: cuda.Cuda) -> None:
    def waits() -> bool:
        gpu.synchronise()
        return True

    assert gpu.capture(waits) is None
    test_what_goes_up_comes_down_again(gpu)


def test_time_passes_on_the_gpu(gpu: cuda.Cuda) -> None:
    source, target = pinned(gpu, [1] * 100_000), pinned(gpu, [0] * 100_000)
    assert gpu.milliseconds(there_and_back(gpu, source, target)) > 0
    assert target[-1] == 1


def test_the_stream_is_not_the_default_one(gpu: cuda.Cuda) -> None:
    assert gpu.stream != 0


def test_a_gpu_says_what_it_is(gpu: cuda.Cuda) -> None:
    found = gpu.gpu()
    assert found["name"]
    major, minor = found["compute_capability"].split(".")
    assert int(major) >= 5
    assert int(minor) >= 0


def test_memory_can_be_given_back_and_taken_again(gpu: cuda.Cuda) -> None:
    gpu.free(gpu.alloc(64))
    gpu.unpin(gpu.pinned((2, 3), np.float16))
    test_what_goes_up_comes_down_again(gpu)


def test_what_is_taken_is_no_longer_free(gpu: cuda.Cuda) -> None:
    before = gpu.free_bytes()
    address = gpu.alloc(64 << 20)
    taken = before - gpu.free_bytes()
    gpu.free(address)
    assert 60 << 20 < taken < 1 << 30  # a real GPU has other users


@pytest.mark.parametrize("choice", cuda.CHOICES)
@pytest.mark.parametrize("unified", [True, False])
def test_a_gpu_says_whether_its_memory_is_the_systems(
    choice: str, monkeypatch: pytest.MonkeyPatch, library: Path, *, unified: bool
) -> None:
    monkeypatch.setenv("EDGEKD_CUDART", str(library))
    monkeypatch.syspath_prepend(str(STANDINS))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings.over_libcudart())
    if not unified:
        monkeypatch.setenv("STANDIN_DISCRETE", "1")
        monkeypatch.setenv("EDGEKD_STANDIN_DISCRETE", "1")
    opened = cuda.open_cuda(choice)
    assert opened.unified is unified
    opened.close()


class Gpu:
    """A GPU of which only the memory is known."""

    def __init__(self, free_mib: list[float], *, unified: bool) -> None:
        self._free_mib, self.unified = free_mib, unified

    def free_bytes(self) -> int:
        return int(self._free_mib.pop(0) * 2**20)


def test_memory_of_its_own_is_taken_as_cuda_says() -> None:
    meter = Meter(Gpu([1000.0, 900.0, 1100.0], unified=False))  # type: ignore[arg-type]
    assert meter.taken_mib() == 100.0
    assert meter.taken_mib() == 0.0  # somebody else has given some back


def test_of_the_systems_memory_files_and_the_process_own_part_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The system has 400 MiB less to give, of which the process itself has taken 150. CUDA would
    # have counted files in the cache, too.
    available, own = iter([5000.0, 4600.0]), iter([50.0, 200.0])
    monkeypatch.setattr(telemetry, "available_mib", lambda: next(available))
    monkeypatch.setattr(telemetry, "memory_mib", lambda key: {"RssAnon": own}[key].__next__())
    assert Meter(Gpu([], unified=True)).taken_mib() == 250.0  # type: ignore[arg-type]


def test_what_the_system_does_not_tell_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "available_mib", lambda: None)
    assert Meter(Gpu([], unified=True)).taken_mib() is None  # type: ignore[arg-type]


def test_closing_gives_back_everything_and_may_be_done_twice(
    standin: cuda.Cuda, library: Path
) -> None:
    source, target = pinned(standin, [1]), pinned(standin, [0])
    standin.capture(there_and_back(standin, source, target))
    held = ctypes.CDLL(str(library)).standin_blocks
    assert held() == 3
    standin.close()
    standin.close()
    assert held() == 0


def test_freeing_twice_is_an_error_in_cudas_words(standin: cuda.Cuda) -> None:
    address = standin.alloc(8)
    standin.free(address)
    with pytest.raises(CudaError, match=r"cudaFree: invalid argument \(1\)"):
        standin.free(address)


def test_a_copy_from_memory_that_is_not_pinned_is_an_error(standin: cuda.Cuda) -> None:
    with pytest.raises(CudaError, match="cudaMemcpyAsync: invalid argument"):
        standin.upload(standin.alloc(4), np.zeros(1, np.float32))


def test_nothing_is_copied_before_somebody_waits(standin: cuda.Cuda) -> None:
    source, target = pinned(standin, [1]), pinned(standin, [0])
    there_and_back(standin, source, target)()
    assert target.tolist() == [0]  # the stand-in is as late as a GPU may be


def test_a_failed_capture_leaves_no_error_for_others_to_find(
    standin: cuda.Cuda, library: Path
) -> None:
    def fails() -> bool:
        standin.synchronise()
        return True

    assert standin.capture(fails) is None
    assert ctypes.CDLL(str(library)).cudaGetLastError() == 0


def test_a_graph_does_not_outlive_its_memory_unseen(standin: cuda.Cuda) -> None:
    source, target = pinned(standin, [1]), pinned(standin, [0])
    graph = standin.capture(there_and_back(standin, source, target))
    standin.unpin(source)
    standin.launch(graph)
    with pytest.raises(CudaError, match="illegal memory access"):
        standin.synchronise()


def test_too_little_memory_is_said(standin: cuda.Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_MEMORY", "100")
    with pytest.raises(CudaError, match=r"cudaMalloc: out of memory \(2\)"):
        standin.alloc(101)


def test_no_gpu_is_said(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_CUDART", str(library))
    monkeypatch.setenv("STANDIN_GPUS", "0")
    with pytest.raises(AgentError, match="no CUDA-capable device"):
        cuda.open_cuda("libcudart")


def test_a_runtime_before_11_4_has_no_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_CUDART", str(build.library(tmp_path, "-DNO_GRAPHS")))
    opened = cuda.open_cuda("libcudart")
    assert not opened.graphs
    assert opened.capture(lambda: True) is None
    opened.close()


def test_a_missing_runtime_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_CUDART", "libnowhere.so")
    with pytest.raises(AgentError, match=r"libnowhere.so.*EDGEKD_CUDART"):
        cuda.open_cuda("libcudart")


def test_the_real_cuda_python_takes_what_it_is_given() -> None:
    """It is there with PyTorch; without a GPU it gets as far as asking for one."""
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is missing")
    try:
        cuda.open_cuda("cuda-python").close()
    except AgentError as error:
        assert str(error).startswith("cudaGetDeviceCount: ")  # noqa: PT017  a GPU may be there


def test_an_unknown_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_CUDA", "rocm")
    with pytest.raises(AgentError, match="libcudart, cuda-python, pycuda, but is 'rocm'"):
        cuda.open_cuda()


@pytest.mark.parametrize("choice", ["cuda-python", "pycuda"])
def test_a_missing_library_is_said(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cuda.bindings", "cuda", "pycuda"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AgentError, match=f"'{choice}', which is missing"):
        cuda.open_cuda(choice)


@pytest.mark.parametrize(("number", "text"), [(12060, "12.6"), (11040, "11.4"), (13000, "13.0")])
def test_versions_are_read(number: int, text: str) -> None:
    assert version_text(number) == text
