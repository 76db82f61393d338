"""One network of every family, on real images: minutes, so marked slow."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.core import records
from edgekd.data.images import checked_pixels, image_set
from edgekd.evaluate import accuracy
from edgekd.export import runtime, write
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.formats import tensorrt
from edgekd.export.platform import Platform
from edgekd.export.target import Target
from edgekd.lint import run as lint
from edgekd.lint.model import Graph as LintGraph
from edgekd.models.build import build
from edgekd.models.checkpoint import Model
from edgekd.remote import inventory
from tests.export import graphs, trt_rules
from tests.export.conftest import calibration, make_model, settle
from tests.pipeline import board

pytestmark = pytest.mark.slow

CLASSES = 20
PIXELS = {"vgg16_bn": 224}  # smaller ones would be scaled up to 7x7 before the classifier
FAMILIES = [
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5",
    "efficientnet_b0", "regnet_y_400mf", "densenet121", "googlenet", "squeezenet1_1", "vgg16_bn",
]  # fmt: skip
EXPORTS = [
    ("onnx-fp32", None), ("onnx-fp16", None), ("onnx-int8", None), ("tensorrt-int8", None),
    ("tensorrt-int8-fp16", "jp6.2"), ("tensorrt-fp16-dla", "jp5.1"), ("tensorrt-fp16", "jp7.2"),
]  # fmt: skip
# Operators of these families that ONNX Runtime has no integer kernel for.
ISLANDS = {"mobilenet_v3_small": {"HardSigmoid", "Mul", "DequantizeLinear"}}
ISLANDS["squeezenet1_1"] = {"DequantizeLinear", "GlobalAveragePool"}  # makes the logits
INTEGER = {
    "QuantizeLinear", "QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid",
    "QLinearGlobalAveragePool", "QLinearAveragePool", "QGemm", "NhwcMaxPool", "MaxPool",
    "Transpose", "Reshape", "Flatten", "Split",
}  # fmt: skip
# Untrained networks amplify any noise: only these stay calm enough for a bound of their own.
LEAST_COSINE = {"resnet18": 0.9, "vgg16_bn": 0.9, "squeezenet1_1": 0.99}


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> Callable[[int, int], NDArray[np.float32]]:
    """Return a function: how many photographs, of how many pixels a side."""
    sys.path.insert(0, str(shared_data))
    try:
        from load_shards import JpegShard
    finally:
        sys.path.pop(0)
    shard = JpegShard(shared_data / "tiny_imagenet" / "val.npz")

    def prepared(count: int, pixels: int) -> NDArray[np.float32]:
        chosen = np.random.default_rng(0).permutation(len(shard))[:count]
        images = [np.asarray(shard[i][0].resize((pixels, pixels))) for i in chosen]
        scaled = (np.stack(images).astype(np.float32) / 255 - 0.45) / 0.225
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    return prepared


def network(name: str, images_nchw: NDArray[np.float32]) -> Model:
    """Return a network with Kaiming's weights, whose batch normalisation has seen the images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(f"torchvision:{name}", CLASSES)
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)
    size = images_nchw.shape[2]
    return make_model(settle(module, images_nchw), (3, size, size), CLASSES)


def sparing() -> Callable[..., tuple[onnx.ModelProto, tuple[str, ...]]]:
    """Return the exporter, which exports a network once for each opset and batch: seconds each."""
    once = functools.cache(onnx_format.to_onnx)

    def to_onnx(*given: Any) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        model, notes = once(*given)
        return onnx.ModelProto.FromString(model.SerializeToString()), notes

    return to_onnx


@pytest.fixture(scope="module", params=FAMILIES)
def family(
    request: pytest.FixtureRequest,
    photographs: Callable[[int, int], NDArray[np.float32]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Return the network's exports and what they were made from."""
    pixels = PIXELS.get(request.param, 64)
    count = 8 if pixels > 64 else 32
    images_nchw = photographs(count, pixels)
    model = network(request.param, images_nchw[count // 4 :])
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_format, "to_onnx", sparing())
        for name, platform in EXPORTS:
            write.export(
                model,
                Target.read(name),
                folder / name,
                parity_nchw=images_nchw[: count // 4],
                calibration=calibration(images_nchw[count // 4 :]),
                platform=Platform.read(platform) if platform else None,
            )
    return {"name": request.param, "folder": folder, "images": images_nchw}


def artifact(family: dict[str, Any], target: str) -> records.Artifact:
    return records.read(records.Artifact, family["folder"] / target / "artifact.json")


def written(family: dict[str, Any], target: str) -> onnx.ModelProto:
    return onnx.load(str(family["folder"] / target / "model.onnx"))


def test_float_artifact_computes_what_its_checkpoint_does(family: dict[str, Any]) -> None:
    parity = artifact(family, "onnx-fp32").parity
    assert parity.state == "passed"  # with logits that all but agree it would be inconclusive
    assert parity.relative_error < 1e-3
    assert parity.cosine > 0.99999
    assert parity.top1_agreement_ratio == 1


def test_fp16_artifact_all_but_computes_what_its_checkpoint_does(family: dict[str, Any]) -> None:
    found = artifact(family, "onnx-fp16")
    assert found.parity.cosine > 0.998  # untrained networks amplify the rounding
    assert not [note for note in found.notes if "stays FP32" in note]
    weights = [t for t in written(family, "onnx-fp16").graph.initializer if len(t.dims) > 1]
    assert {tensor.data_type for tensor in weights} == {onnx.TensorProto.FLOAT16}


def test_no_batch_normalisation_is_left_behind_a_convolution(family: dict[str, Any]) -> None:
    left = [n.op_type for n in written(family, "onnx-fp32").graph.node].count("BatchNormalization")
    # DenseNet's follow a concatenation, or the pooling behind the stem.
    assert left == (62 if family["name"] == "densenet121" else 0)


def test_runtime_computes_integers_throughout(family: dict[str, Any], tmp_path: Path) -> None:
    model = written(family, "onnx-int8")
    found = graphs.optimised(model, tmp_path)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    assert found["QLinearConv"] == convolutions
    assert set(found) - INTEGER == ISLANDS.get(family["name"], set())
    assert artifact(family, "onnx-int8").float_layers == 0


def test_integers_give_the_logits_that_q_and_dq_say(family: dict[str, Any]) -> None:
    model, images_nchw = written(family, "onnx-int8"), family["images"][:8]
    exact_nk = graphs.run(model, images_nchw, fused=False)
    fused_nk = graphs.run(model, images_nchw)
    # Values on the edge of two integers fall to either side, and untrained networks amplify that;
    # 8-bit weights, which saturate on processors without VNNI, differ by 0.5 and more.
    assert np.sqrt(np.mean((fused_nk - exact_nk) ** 2)) < 0.2 * exact_nk.std()


def test_int8_loses_no_more_than_the_runtimes_own_quantiser(
    family: dict[str, Any], tmp_path: Path
) -> None:
    from onnxruntime import quantization

    images_nchw = family["images"]
    quarter = len(images_nchw) // 4
    fp32 = family["folder"] / "onnx-fp32" / "model.onnx"

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"images": images_nchw[quarter:]}]

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        str(fp32), str(tmp_path / "rival.onnx"), Reader(), per_channel=True, reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
    )  # fmt: skip
    expected_nk = runtime.logits(fp32, images_nchw[:quarter])

    def error(path: Path) -> float:
        return float(
            np.sqrt(np.mean((runtime.logits(path, images_nchw[:quarter]) - expected_nk) ** 2))
        )

    ours = error(family["folder"] / "onnx-int8" / "model.onnx")
    assert ours <= 1.2 * error(tmp_path / "rival.onnx")


def test_tensorrt_form_keeps_its_rules(family: dict[str, Any]) -> None:
    assert trt_rules.faults(written(family, "tensorrt-int8")) == []
    assert trt_rules.faults(written(family, "tensorrt-int8-fp16")) == []


def test_linter_finds_no_error_for_the_platform(family: dict[str, Any]) -> None:
    for name, platform in EXPORTS[4:]:
        versions = [lint.parse(text) for text in Platform.read(str(platform)).tensorrt]
        graph = LintGraph(written(family, name), dla=Target.read(name).dla)
        result = lint.lint(graph, versions)
        assert [one for one in result.findings if one.severity == "error"] == [], name


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-fp16", "tensorrt-int8", "tensorrt-int8-fp16"])
def test_linter_finds_no_error_for_tensorrt_10_and_11(family: dict[str, Any], name: str) -> None:
    found = lint.lint(LintGraph(written(family, name)), [(10, 3), (11, 4)]).findings
    assert [one for one in found if one.severity == "error"] == []


@pytest.mark.parametrize("version", ["10.3.0", "11.4.0"])
def test_engine_is_built_and_run_by_a_stand_in(
    family: dict[str, Any], version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way there and back: what the stand-in computes is ONNX Runtime's, not TensorRT's."""
    gpu = board.here(tmp_path, monkeypatch, version)
    model, plan = family["folder"] / "tensorrt-int8" / "model.onnx", tmp_path / "model.plan"
    made = artifact(family, "tensorrt-int8")
    record = tensorrt.build(model, plan, reach=inventory.usable(gpu).reach)
    assert (record.tensorrt, record.asked.precision) == (version, "int8")
    pixels = np.random.default_rng(0).integers(
        0, 256, (3, *made.input_shape[1:], 3), dtype=np.uint8
    )
    images = image_set(checked_pixels(pixels, "noise"), [0, 1, 2], list("abc"), "noise")
    found_nk = accuracy.logits_of(plan, images, made.normalisation, device=gpu)
    assert found_nk.shape == (3, CLASSES)
    assert found_nk.std(axis=0).any()
    np.testing.assert_array_equal(found_nk, accuracy.logits_of(model, images, made.normalisation))


def test_platform_settles_the_opset(family: dict[str, Any]) -> None:
    for name, platform in EXPORTS[4:]:
        found = Platform.read(str(platform))
        model = written(family, name)
        assert (model.opset_import[0].version, model.ir_version) == (found.opset, found.ir_version)


def test_accelerator_computes_every_convolution_in_fp16(family: dict[str, Any]) -> None:
    notes = artifact(family, "tensorrt-fp16-dla").notes
    left = [note for note in notes if "runs on the GPU" in note]
    assert not [note for note in left if "Conv" in note]
    assert artifact(family, "tensorrt-fp16-dla").parity.cosine > 0.998


def test_calm_networks_keep_their_logits_in_int8(family: dict[str, Any]) -> None:
    least = LEAST_COSINE.get(family["name"], -1.0)
    assert artifact(family, "onnx-int8").parity.cosine >= least
    assert artifact(family, "tensorrt-int8").parity.cosine >= least
    assert artifact(family, "tensorrt-int8-fp16").parity.cosine >= least


def test_int8_takes_a_quarter_of_the_bytes(family: dict[str, Any]) -> None:
    whole = artifact(family, "onnx-fp32").bytes
    # Small networks have many channels with a scale each, and names for every tensor.
    limit = 0.40 if whole < 4e6 else 0.30
    assert artifact(family, "onnx-int8").bytes < limit * whole
    assert artifact(family, "tensorrt-int8").bytes < limit * whole
