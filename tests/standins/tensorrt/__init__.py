"""A strict stand-in for TensorRT's Python module, for tests on machines without a GPU.

EDGEKD_STANDIN_TRT chooses the version; its public surface is exactly what ``tests/facts`` lists of
the real bindings. Engines compute through ONNX Runtime, so their outputs and times say nothing of
TensorRT's. See docs/testing-tensorrt.md.
"""

from ._module import names as _names

globals().update(_names())
