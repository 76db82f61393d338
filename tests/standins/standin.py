"""Loads the stand-in for TensorRT once a version, beside each other in one process."""

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

HERE = Path(__file__).parent
FACTS = HERE.parent / "facts"
VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "11.4.0")


@functools.cache
def load_tensorrt(version: str) -> ModuleType:
    name = "standin_tensorrt_" + version.replace(".", "_")
    file = HERE / "tensorrt" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with mock.patch.dict(os.environ, {"EDGEKD_STANDIN_TRT": version}):
        spec.loader.exec_module(module)
    return module
