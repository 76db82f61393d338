"""The stand-in for TensorRT, once a version."""

from types import ModuleType

import pytest

from tests.standins.standin import VERSIONS, load_tensorrt


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trt(version: str) -> ModuleType:
    return load_tensorrt(version)
