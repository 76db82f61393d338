"""Our calls against NVIDIA's cuda-python, which can be imported without a GPU."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekd.agent.cuda import runtime
from tests.bindings import real

pytestmark = pytest.mark.bindings
WHEELS = ("cuda-bindings==12.9.4", "cuda-bindings==13.0.3")


@pytest.fixture(scope="module", params=WHEELS)
def surface(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = real.download(request.param, tmp_path_factory.mktemp("cuda"))
    return real.ask("cuda_surface.py", path)


def calls() -> Iterator[tuple[str, int]]:
    """Yield each CUDA function that we call, with the number of arguments that we give."""
    for node in ast.walk(ast.parse(Path(runtime.__file__).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"call", "self._call"}:
            name, *given = node.args
            if isinstance(name, ast.Constant):
                yield str(name.value), len(given)


def test_every_function_exists_and_takes_as_many_arguments(surface: Any) -> None:
    ours = set(calls())
    assert len(ours) > 15
    assert {(name, surface["functions"].get(name)) for name, _ in ours} == ours


def test_the_numbers_that_we_write_are_cudas(surface: Any) -> None:
    enums = surface["enums"]
    assert enums["cudaMemcpyKind"]["cudaMemcpyHostToDevice"] == runtime._TO_DEVICE
    assert enums["cudaMemcpyKind"]["cudaMemcpyDeviceToHost"] == runtime._TO_HOST
    modes, attributes = enums["cudaStreamCaptureMode"], enums["cudaDeviceAttr"]
    assert modes["cudaStreamCaptureModeThreadLocal"] == runtime._THREAD_LOCAL
    assert attributes["cudaDevAttrComputeCapabilityMajor"] == runtime._MAJOR
    assert attributes["cudaDevAttrComputeCapabilityMinor"] == runtime._MINOR
    assert attributes["cudaDevAttrIntegrated"] == runtime._INTEGRATED
