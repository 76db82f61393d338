"""TensorRT's real Python bindings, without TensorRT: the wheel's module over empty libraries.

NVIDIA's wheels of the bindings hold no library, and the module wants little of them at import: a
handful of factory functions. These are compiled here to return null, so everything that needs no
TensorRT can be looked at: names, signatures, enumerators, loggers, and how arguments are refused.
Wheels and libraries stay in a temporary folder.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

WHEELS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.13.3": "tensorrt-cu12-bindings==10.13.3.9.post1",
    "11.4.0": "tensorrt-cu13-bindings==11.4.0.106",
}
HERE = Path(__file__).parent
_LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin", "nvparsers")
_FACTORIES = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL"),
    *("getBuilderPluginRegistry", "getNvOnnxParserVersion", "getPluginRegistry"),
    "initLibNvInferPlugins",
    # 8.6 has parsers of other formats too.
    *("_ZN11nvuffparser15createUffParserEv", "_ZN14nvcaffeparser117createCaffeParserEv"),
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)


def install(version: str, folder: Path) -> Path:
    """Download TensorRT's bindings into ``folder``; return what to put on PYTHONPATH."""
    path = download(WHEELS[version], folder)
    _add_libraries(path / "tensorrt_bindings", version.partition(".")[0])
    # The package that people import is another wheel, which only renames this one.
    (path / "tensorrt_bindings").rename(path / "tensorrt")
    return path


def download(requirement: str, folder: Path) -> Path:
    """Download a wheel without what it depends on, and unpack it.

    Raises:
        RuntimeError: there is no such wheel, or no way to it; with pip's last line.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--disable-pip-version-check"),
            *("--dest", str(folder), requirement),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["pip says nothing"])[-1])
    (wheel,) = folder.glob("*.whl")
    path = folder / "path"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(path)
    return path


def _add_libraries(package: Path, major: str) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("gcc is missing: apt-get install gcc")
    source = package / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FACTORIES))
    for name in _LIBRARIES:
        library = package / f"lib{name}.so.{major}"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)


def ask(script: str, path: Path, **environment: str) -> Any:
    """Run a script of this folder where ``import tensorrt`` finds ``path``; return its JSON."""
    done = subprocess.run(
        [sys.executable, HERE / script],
        check=False,
        env={"PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(re.split("^RESULT ", done.stdout, flags=re.MULTILINE)[-1])
