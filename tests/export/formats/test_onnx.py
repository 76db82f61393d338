"""Float ONNX by PyTorch's exporter."""

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgekd.core.errors import ExportError
from edgekd.export import metadata, opset, runtime
from edgekd.export.formats import onnx as formats
from edgekd.models.checkpoint import Model
from tests.export.conftest import SHAPE, make_images


class Tiny(nn.Module):
    """The least that can be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 2)

    def forward(self, images_nchw: Tensor) -> Tensor:
        logits_nk: Tensor = self.linear(images_nchw.flatten(1))
        return logits_nk


TINY_SHAPE = (3, 2, 2)


@pytest.mark.parametrize("version", [17, 21])
def test_opset_asked_for_is_the_opset_written(version: int) -> None:
    model, _ = formats.to_onnx(Tiny(), TINY_SHAPE, version, 1)
    assert opset.of(model) == version
    onnx.checker.check_model(model, full_check=True)


def test_nothing_is_printed_logged_or_warned(caplog: pytest.LogCaptureFixture) -> None:
    out, err = io.StringIO(), io.StringIO()
    with (
        caplog.at_level(logging.INFO),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        formats.to_onnx(Tiny(), TINY_SHAPE, 18, 1)
    assert (out.getvalue(), err.getvalue(), caplog.text) == ("", "", "")


def test_batch_normalisation_and_dropout_are_gone(exports: dict[str, Path]) -> None:
    model = onnx.load(str(exports["onnx-fp32"] / "model.onnx"))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == [
        "Conv", "Relu", "Conv", "Add", "Relu", "GlobalAveragePool", "Reshape", "Gemm",
    ]  # fmt: skip


def test_nodes_and_weights_are_called_after_modules(exports: dict[str, Path]) -> None:
    model = onnx.load(str(exports["onnx-fp32"] / "model.onnx"))
    names = [node.name for node in model.graph.node]
    assert names == [
        "conv1/Conv", "relu/Relu", "conv2/Conv", "/Add", "relu/Relu_1", "pool/GlobalAveragePool",
        "/Reshape", "linear/Gemm",
    ]  # fmt: skip
    weights = {tensor.name for tensor in model.graph.initializer}
    assert {"conv1.weight", "conv1.bias", "conv2.weight", "linear.weight"} <= weights


def test_any_number_of_images_or_one(exports: dict[str, Path]) -> None:
    assert metadata.read(exports["onnx-fp32"] / "model.onnx").batch is None
    assert metadata.read(exports["onnx-int8"] / "model.onnx").batch is None
    assert metadata.read(exports["tensorrt-int8"] / "model.onnx").batch == 1


def test_weights_are_inside_the_file(exports: dict[str, Path]) -> None:
    for folder in exports.values():
        assert sorted(path.name for path in folder.iterdir()) == ["artifact.json", "model.onnx"]


def test_same_network_gives_the_same_bytes() -> None:
    torch.manual_seed(0)
    module = Tiny()
    first, second = (
        formats.serialise(formats.to_onnx(module, TINY_SHAPE, 18, "dynamic")[0]) for _ in range(2)
    )
    assert first == second


def test_no_place_on_this_machine_is_written(exports: dict[str, Path]) -> None:
    for folder in exports.values():
        content = (folder / "model.onnx").read_bytes()
        assert str(Path(__file__).parents[3]).encode() not in content
        assert b".py" not in content


def test_network_keeps_its_mode_and_its_gradients(small: Model) -> None:
    module = Tiny().train()
    formats.to_onnx(module, TINY_SHAPE, 18, 1)
    assert module.training
    assert module.linear.weight.requires_grad


class Branching(nn.Module):
    """Decides by the values of the images, which no graph can hold."""

    def forward(self, images_nchw: Tensor) -> Tensor:
        if images_nchw.sum() > 0:
            return images_nchw.flatten(1)
        return -images_nchw.flatten(1)


def test_network_that_cannot_be_exported_is_refused_with_the_reason() -> None:
    with pytest.raises(ExportError, match=r"PyTorch cannot export the network: .*data-dependent"):
        formats.to_onnx(Branching(), SHAPE, 18, 1)


class TwoHeads(nn.Module):
    """Returns two things."""

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
        return images_nchw.flatten(1), images_nchw


def test_network_with_two_outputs_is_refused() -> None:
    with pytest.raises(ExportError, match=r"takes one batch of images .* returns 2"):
        formats.to_onnx(TwoHeads(), SHAPE, 18, 1)


def test_logits_do_not_depend_on_the_batch(exports: dict[str, Path]) -> None:
    images_nchw = make_images(5)
    path = exports["onnx-fp32"] / "model.onnx"
    together_nk = runtime.logits(path, images_nchw)
    alone_nk = np.concatenate(
        [runtime.logits(path, images_nchw[i : i + 1]) for i in range(len(images_nchw))]
    )
    assert together_nk == pytest.approx(alone_nk, abs=1e-5)
