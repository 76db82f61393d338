"""What the accelerator takes, and what it leaves to the GPU."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgekd.core.errors import ExportError
from edgekd.export import half, runtime
from edgekd.export.forms import dla
from edgekd.lint import run as lint
from edgekd.lint.model import Graph as LintGraph
from tests.export import graphs
from tests.export.graphs import Builder


def builder(pixels: int = 8, batch: int = 1) -> Builder:
    b = Builder(pixels=pixels)
    b.shape = (batch, *b.shape[1:])
    return b


def written(b: Builder, output: str) -> ModelProto:
    """Return the network as the target's export writes it."""
    model = b.model(output)
    dla.prepare(model)
    images_nchw = graphs.images(model)
    largest = runtime.largest(model, half.activations(model), images_nchw)
    return half.convert(model, largest)[0]


def left(b: Builder, output: str) -> tuple[str, ...]:
    return dla.left_to_gpu(written(b, output))


def test_a_plain_network_runs_on_the_accelerator_throughout() -> None:
    b = builder()
    assert left(b, b.head(b.node("Relu", b.conv("images", 16, 16)), 16)) == ()


def test_average_over_a_small_image_becomes_pooling_that_computes_the_same() -> None:
    b = builder(batch=2)
    model = b.model(b.head(b.conv("images", 16, 16), 16))
    images_nchw = graphs.images(model)[:2]
    before_nk = graphs.run(model, images_nchw)
    dla.prepare(model)
    kinds = [node.op_type for node in model.graph.node]
    assert ("AveragePool" in kinds, "GlobalAveragePool" in kinds) == (True, False)
    assert graphs.run(model, images_nchw) == pytest.approx(before_nk, abs=1e-5)


def test_average_over_a_larger_image_is_left_to_the_gpu() -> None:
    b = builder(pixels=9)
    (note,) = left(b, b.head(b.conv("images", 16, 16), 16))
    assert note.endswith("runs on the GPU: the accelerator has no GlobalAveragePool")


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"strides": [9, 9]}, "strides [9, 9] is beyond 8"),
        ({"dilations": [1, 33], "pads": [1, 33, 1, 33]}, "dilations [1, 33] is beyond 32"),
        ({"pads": [32, 32, 32, 32]}, "pads [32, 32, 32, 32] is beyond 31"),
    ],
)
def test_convolution_beyond_its_limits_is_left_to_the_gpu(
    attributes: dict[str, Any], reason: str
) -> None:
    b = builder(pixels=16)
    x = b.conv("images", 16, 16, **attributes)
    pooled = b.node("ReduceMax", x, axes=[2, 3], keepdims=0)
    found = left(b, b.node("Gemm", pooled, b.weight("w", 16, 5)))
    assert any(note.endswith(f"runs on the GPU: {reason}") for note in found)


def test_concat_of_rows_is_left_to_the_gpu_and_of_channels_is_not() -> None:
    found = {}
    for axis in (1, 2):
        b = builder()
        one, other = b.conv("images", 16, 8), b.conv("images", 16, 8)
        x = b.node("Concat", one, other, axis=axis, name="join")
        flat = b.node("Flatten", x)
        found[axis] = left(b, b.node("Gemm", flat, b.weight("w", 16 * 64, 5)))
    assert found == {1: (), 2: ("'join/Concat' runs on the GPU: it does not join channels",)}


def test_transposed_convolution_with_padding_is_left_to_the_gpu() -> None:
    b = builder()
    weight = b.weight("up", 16, 8, 4, 4)
    x = b.node("ConvTranspose", "images", weight, strides=[2, 2], pads=[1, 1, 1, 1], name="up")
    pooled = b.node("ReduceMax", x, axes=[2, 3], keepdims=0)
    found = left(b, b.node("Gemm", pooled, b.weight("w", 8, 5)))
    assert (
        "'up/ConvTranspose' runs on the GPU: a transposed convolution may have no padding" in found
    )


def test_what_stays_fp32_is_left_to_the_gpu() -> None:
    b = builder()
    large = b.constant("large", np.array(1e5, np.float32))
    x = b.node("Mul", b.conv("images", 16, 16), large, name="blow")
    (note,) = left(b, b.head(b.node("Clip", x, "", "", name="keep"), 16))[:1]
    assert note == "'blow/Mul' runs on the GPU: it computes in FP32"


def test_network_of_which_nothing_would_run_there_is_refused() -> None:
    b = builder(pixels=16)
    x = b.conv("images", 16, 5, strides=[9, 9])
    output = b.node("ReduceMax", x, axes=[2, 3], keepdims=0)
    with pytest.raises(ExportError, match=r"no convolution .* export tensorrt-fp16"):
        left(b, output)


def test_batch_beyond_its_limit_is_refused() -> None:
    b = builder(pixels=1, batch=4097)
    output = b.head(b.conv("images", 16, 16, kernel=1), 16)
    with pytest.raises(ExportError, match=r"up to 4096 images .* takes \[4097, 16, 1, 1\]"):
        left(b, output)


def test_the_linter_finds_no_error_in_what_is_written() -> None:
    b = builder()
    model = written(b, b.head(b.node("Relu", b.conv("images", 16, 16)), 16))
    onnx.checker.check_model(model, full_check=True)
    result = lint.lint(LintGraph(model, dla=True), [(8, 5), (10, 3)])
    assert [found for found in result.findings if found.severity == "error"] == []
