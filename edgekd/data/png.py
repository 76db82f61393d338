"""Write 8-bit images as PNG, so that a page can show them. Needs numpy alone.

Source: Portable Network Graphics (PNG) Specification, third edition, W3C.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}  # channels -> grey, RGB


def encode(pixels_hwc: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of grey [H, W, 1] or RGB [H, W, 3] pixels, without loss."""
    height, width, channels = pixels_hwc.shape
    lines = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # filter 0 leads each line
    lines[:, 1:] = pixels_hwc.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in parts)


def shrink(pixels_hwc: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """Return an image whose sides are at most ``most`` pixels: the means of square blocks.

    Rows and columns that fill no block are left out.
    """
    height, width, channels = pixels_hwc.shape
    block = -(-max(height, width) // most)
    rows, columns = max(height // block, 1), max(width // block, 1)
    kept = pixels_hwc[: rows * block, : columns * block]
    blocks = kept.reshape(rows, kept.shape[0] // rows, columns, kept.shape[1] // columns, channels)
    return np.asarray(blocks.mean(axis=(1, 3)).round(), dtype=np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
