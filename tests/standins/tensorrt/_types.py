"""The Python half of the module: sizes and numpy types of DataType."""

from typing import Any

from ._callbacks import ENUMS

# Name of the constant in the module, size in bytes, numpy's name.
_KINDS = {
    "FLOAT": ("float32", 4, "float32"),
    "HALF": ("float16", 2, "float16"),
    "INT8": ("int8", 1, "int8"),
    "INT32": ("int32", 4, "int32"),
    "INT64": ("int64", 8, "int64"),
    "BOOL": ("bool", 1, "bool_"),
    "UINT8": ("uint8", 1, "uint8"),
    "FP8": ("fp8", 1, None),
    "BF16": ("bfloat16", 2, None),
    "INT4": ("int4", 0.5, None),
    "FP4": ("fp4", 0.5, None),
}
DataType = ENUMS["DataType"]
CONSTANTS = {
    alias: getattr(DataType, name)
    for name, (alias, _, _) in _KINDS.items()
    if name in DataType.__members__
}
DataType.itemsize = property(lambda one: _KINDS[one.name][1])


def numpy_type(kind: Any) -> Any:
    """Return the numpy type of a DataType."""
    import numpy as np

    name = _KINDS[kind.name][2] if isinstance(kind, DataType) and kind.name in _KINDS else None
    if name is None:
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return getattr(np, name)


def volume(iterable: Any) -> int:
    """Return the product of sizes: 1 for none."""
    product = 1
    for size in iterable:
        product *= size
    return product
