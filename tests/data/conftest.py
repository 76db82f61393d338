"""Images made by hand, in the forms in which they are published."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.images import ImageSet, Stored, image_set

Published = Callable[[dict[str, Any]], bytes]


@pytest.fixture
def pixels_nhwc() -> NDArray[np.uint8]:
    """Six images as CIFAR's, all different."""
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def images(pixels_nhwc: NDArray[np.uint8]) -> ImageSet:
    """Six images of three classes."""
    return image_set(Stored(pixels_nhwc), [0, 1, 2, 0, 1, 2], ["ant", "bee", "cow"], "these")


@pytest.fixture(scope="session")
def published() -> Published:
    """Pickle as Python 2 did: text without encoding, arrays by numpy.core.multiarray."""
    return lambda tree: b"\x80\x02" + _python2(tree) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode()
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    minus_one = b"J\xff\xff\xff\xff"
    order = b"(K\x03U\x01|NNN" + 2 * minus_one + b"K\x00tb"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R" + order
    shape = b"(" + b"".join(map(_python2, value.shape)) + b"t"
    content = b"T" + struct.pack("<i", value.nbytes) + value.tobytes()
    return empty + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"


@pytest.fixture(scope="session")
def real_cifar10(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of CIFAR-10, unpacked once: takes about ten seconds."""
    return _unpack(shared_data, "cifar10", tmp_path_factory.mktemp("cifar10"))


@pytest.fixture(scope="session")
def real_tiny_imagenet(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny-ImageNet, 40 classes, as class folders."""
    return _unpack(shared_data, "tiny-imagenet", tmp_path_factory.mktemp("tiny"))


def _unpack(shared_data: Path, what: str, folder: Path) -> Path:
    subprocess.run([sys.executable, shared_data / "unpack.py", what, folder], check=True)
    return folder
