"""A student that was trained in INT8 is exported with the very numbers that it was trained with."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from edgekd.core import records
from edgekd.core.specs import Data, Quantize
from edgekd.data import augment, sources
from edgekd.export import qdq, trained, write
from edgekd.export.graph import Graph
from edgekd.export.target import Target
from edgekd.models import checkpoint, fake_quant, quantisers
from edgekd.models.checkpoint import Model
from edgekd.models.fake_quant import Grid
from edgekd.pipeline import quantized
from edgekd.quantize import qat
from tests.export import graphs, trt_rules
from tests.export.conftest import calibration
from tests.export.graphs import INT8, TENSORRT, Builder


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64], Model]:
    """Real images, their labels, and a network that has learnt them for a few steps."""
    images = sources.load(Data(source="digits"), seed=0).train
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
        pixels = images.batch(np.arange(len(images)))
        images_nchw = augment.normalise(pixels, model.record.normalisation, "cpu")
        labels_n = images.labels_n
        learn(model.module, images_nchw, torch.from_numpy(labels_n.copy()), steps=30)
    return images_nchw.numpy(), labels_n, model


def learn(module: nn.Module, images_nchw: Tensor, labels_n: Tensor, steps: int) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    module.train()
    for rows in torch.arange(len(images_nchw)).repeat(3).split(64)[:steps]:
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images_nchw[rows]), labels_n[rows]).backward()
        optimiser.step()
    module.eval()


@pytest.fixture(scope="module", params=["onnx-int8", "tensorrt-int8"])
def student(request: pytest.FixtureRequest, digits: tuple) -> tuple[str, Model]:
    """A student that was quantised for a target and trained so; it ends with other steps."""
    images_nchw, labels_n, teacher = digits
    model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
    model.module.load_state_dict(teacher.module.state_dict())
    shown = torch.from_numpy(images_nchw)
    spec = Quantize(target=request.param)
    qat.quantise(model.module, spec, [shown[:128]], int8=quantized.int8_of(spec))
    before = fake_quant.grids(model.module)
    learn(model.module, shown, torch.from_numpy(labels_n.copy()), steps=10)
    after = fake_quant.grids(model.module)
    assert all(after[name].step != grid.step for name, grid in before.items())
    return request.param, model


@pytest.fixture(scope="module")
def exported(
    student: tuple[str, Model], digits: tuple, tmp_path_factory: pytest.TempPathFactory
) -> tuple[records.Artifact, Path]:
    name, model = student
    out = tmp_path_factory.mktemp("trained") / name
    artifact = write.export(
        model, Target.read(name), out,
        parity_nchw=digits[0][:256], calibration=calibration(digits[0][:64]),
    )  # fmt: skip
    return artifact, out / artifact.file


def test_scales_of_activations_are_the_steps_of_training(
    student: tuple[str, Model], exported: tuple[records.Artifact, Path]
) -> None:
    graph = Graph(onnx.load(str(exported[1])))
    grids = fake_quant.grids(student[1].module)
    checked = set()
    for node in graph.nodes:
        source = graph.producer(node.input[0])
        module = node.name.rpartition("/")[0]
        if node.op_type in {"Conv", "Gemm"} and source.op_type == "DequantizeLinear":
            assert graph.constant(source.input[1]) == np.float32(grids[module].step), module
            checked.add(module)
    small = {"linear"} if student[0] == "tensorrt-int8" else set()  # 10 outputs: stays float
    assert checked == set(grids) - small


def test_weights_are_the_integers_of_training(
    student: tuple[str, Model], exported: tuple[records.Artifact, Path]
) -> None:
    graph = Graph(onnx.load(str(exported[1])))
    module = student[1].module
    layer, norm = module.layer1[0].conv1, module.layer1[0].bn1
    trained = quantisers.weight(layer.weight, layer.precision.weights).detach().numpy()
    limit = 64 if student[0] == "onnx-int8" else 127
    largest_o = np.abs(layer.weight.detach().numpy()).max(axis=(1, 2, 3))
    factor_o = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
    scales_o = graph.constant("layer1.0.conv1/Conv/weight/scale")
    assert scales_o == pytest.approx(largest_o / limit * np.abs(factor_o), rel=1e-5)
    integers = graph.constant("layer1.0.conv1/Conv/weight/quantised")
    folded = trained * factor_o.reshape(-1, 1, 1, 1)
    assert integers * scales_o.reshape(-1, 1, 1, 1) == pytest.approx(folded, abs=1e-5)


def test_file_decides_as_the_student_does(exported: tuple[records.Artifact, Path]) -> None:
    artifact, _ = exported
    assert artifact.parity.images == 256
    assert artifact.parity.state == "passed"
    assert artifact.parity.top1_agreement_ratio >= 0.99


def test_it_says_how_many_ranges_come_from_training(
    student: tuple[str, Model], exported: tuple[records.Artifact, Path]
) -> None:
    artifact, path = exported
    pairs = [n for n in onnx.load(str(path)).graph.node if n.op_type == "QuantizeLinear"]
    # onnx-int8: the outputs of the four convolutions before additions, and of the shortcut, are
    # calibrated; tensorrt-int8: the shortcut, and what is added behind it.
    taken = int(artifact.notes[0].split()[0])
    assert artifact.notes == (f"{taken} of {len(pairs)} ranges come from training",)
    assert 0 < taken < len(pairs)


def test_the_other_target_takes_the_student_too(
    student: tuple[str, Model], digits: tuple, tmp_path: Path
) -> None:
    name, model = student
    other = {"onnx-int8": "tensorrt-int8", "tensorrt-int8": "onnx-int8"}[name]
    artifact = write.export(
        model, Target.read(other), tmp_path,
        parity_nchw=digits[0][:256], calibration=calibration(digits[0][:64]),
    )  # fmt: skip
    assert artifact.parity.state == "passed"
    assert artifact.parity.top1_agreement_ratio >= 0.97
    if other == "tensorrt-int8":
        assert trt_rules.faults(onnx.load(str(tmp_path / "model.onnx"))) == []


def test_layers_that_were_trained_in_float_stay_so(digits: tuple, tmp_path: Path) -> None:
    model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
    shown = torch.from_numpy(digits[0][:64])
    qat.quantise(model.module, Quantize(keep=("layer1.0.*",)), [shown])
    artifact = write.export(
        model, INT8, tmp_path, parity_nchw=digits[0][:8], calibration=calibration(digits[0][:64])
    )
    assert artifact.float_layers == 2
    assert artifact.notes[1] == "float, as in training: layer1.0.conv1, layer1.0.conv2"


def found(model: ModelProto, target: Target, grids: dict[str, Grid]) -> dict[str, tuple]:
    prepared = qdq.prepare(model, target)
    return trained.ranges(prepared, qdq.place(prepared, target), grids, target)


def test_a_range_belongs_to_the_tensor_that_the_layer_reads() -> None:
    grids = {"conv2": Grid(0.5, signed=False), "conv1": Grid(0.25, signed=True)}
    assert found(graphs.plain(), INT8, grids) == {
        "images": (-32.0, 31.75),
        "relu1/Relu": (0.0, 127.5),
    }
    # Symmetric: -128 is kept, but the scale is that of 127 steps.
    assert found(graphs.plain(), TENSORRT, grids) == {
        "images": (-31.75, 31.75),
        "relu1/Relu": (0.0, 127.5),
    }


def test_a_float_network_has_no_ranges_of_its_own() -> None:
    assert found(graphs.residual(), INT8, {}) == {}


def test_of_two_steps_for_one_tensor_the_wider_counts() -> None:
    grids = {"b1": Grid(1.0, signed=False), "down": Grid(2.0, signed=False)}
    assert found(graphs.residual(), TENSORRT, grids) == {"relu2/Relu": (0.0, 510.0)}


def test_a_pooling_passes_the_trained_range_to_its_input() -> None:
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="one"), name="relu")
    x = b.node("MaxPool", x, name="pool", kernel_shape=[2, 2], strides=[2, 2])
    model = b.model(b.head(b.conv(x, 16, 16, name="two"), 16))
    settled = found(model, INT8, {"two": Grid(1.0, signed=False)})
    assert settled == dict.fromkeys(("relu/Relu", "pool/MaxPool"), (0.0, 255.0))


@pytest.mark.parametrize(
    ("grid", "high"),
    [(Grid(0.01, signed=False), 2.55), (Grid(1, signed=False), 6), (Grid(1, signed=True), 6)],
)
def test_where_q_stands_for_a_clamp_the_range_ends_there(grid: Grid, high: float) -> None:
    b = Builder()
    bounds = [b.constant(name, np.float32(value)) for name, value in (("low", 0), ("high", 6))]
    x = b.node("Clip", b.conv("images", 16, 16, name="one"), *bounds, name="clip")
    model = b.model(b.head(b.conv(x, 16, 16, name="two"), 16))
    settled = found(model, INT8, {"two": grid})
    assert settled == {"clip/Clip": pytest.approx((0.0, high))}
