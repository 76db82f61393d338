"""Which layer differs first, on real exports of the digits network and on graphs made by hand."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekd.core.errors import UsageError
from edgekd.core.records import Normalisation
from edgekd.data import sources
from edgekd.data.images import ImageSet, checked_pixels, image_set
from edgekd.evaluate import bisect
from edgekd.evaluate.bisect import Comparison, compare
from edgekd.evaluate.probes import Network
from tests import nets

DIGITS = Normalisation(mean=(0.305,), std=(0.376,))
PLAIN = Normalisation(mean=(0.0,), std=(1.0,))
LAYERS = 26  # tensors that the digits network computes of each image


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return sources.load_images("digits", "train", None).take(np.arange(16))


def altered(file: Path, layer: str, out: Path) -> Path:
    """Write a file with another number in one weight of a layer."""
    model = onnx.load(str(file))
    tensor = next(one for one in model.graph.initializer if one.name == f"{layer}.weight")
    weight = numpy_helper.to_array(tensor).copy()
    weight.flat[0] += 3
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    onnx.save(model, str(out))
    return out


def errors(found: Comparison) -> dict[str, float]:
    return {row.tensor: row.relative_error for row in found.measured}


def test_a_file_does_not_differ_from_itself(exports: dict[str, Path], images: ImageSet) -> None:
    file = exports["onnx-fp32"]
    found = compare((file, file), images, DIGITS, tolerance=0.0, every=True)
    assert found.first is None
    assert found.common == len(found.measured) == LAYERS
    assert {(row.relative_error, row.max_error, row.increase) for row in found.measured} == {
        (0.0, 0.0, 0.0)
    }
    assert all(row.cosine == pytest.approx(1) for row in found.measured)


@pytest.mark.parametrize(
    ("layer", "every"),
    [
        ("conv1", False),
        ("layer1.1.conv2", False),
        ("layer2.0.conv1", False),
        ("layer2.0.conv1", True),
        ("layer2.0.shortcut.0", False),
        ("linear", False),
    ],
)
def test_the_layer_of_which_one_weight_was_changed_is_named(
    exports: dict[str, Path], images: ImageSet, tmp_path: Path, layer: str, *, every: bool
) -> None:
    file = exports["onnx-fp32"]
    other = altered(file, layer, tmp_path / "other.onnx")
    found = compare((file, other), images, DIGITS, tolerance=0.01, every=every)
    assert found.first is not None
    assert found.first.layer == layer
    assert found.first.operator in {"Conv", "Gemm"}
    assert found.first.increase == found.first.relative_error  # what it reads is the same
    assert (len(found.measured) < LAYERS) is not every


@pytest.mark.parametrize("target", ["onnx-int8", "tensorrt-int8"])
def test_the_errors_of_int8_are_small_and_grow_along_the_network(
    exports: dict[str, Path], images: ImageSet, target: str
) -> None:
    files = (exports["onnx-fp32"], exports[target])
    found = compare(files, images, DIGITS, tolerance=0.2, every=True)
    assert found.first is None
    assert len(found.measured) == LAYERS
    convs = [row.relative_error for row in found.measured if row.operator == "Conv"]
    assert 0 < convs[0] == min(convs)
    thirds = [float(np.mean(part)) for part in np.array_split(convs, 3)]
    assert thirds == sorted(thirds)
    assert all(row.cosine > 0.98 for row in found.measured)


@pytest.mark.parametrize("every", [False, True])
def test_a_run_gives_no_more_tensors_than_a_chunk(
    exports: dict[str, Path],
    images: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    every: bool,
) -> None:
    asked: list[int] = []
    logits_of = bisect.accuracy.logits_of

    def spy(file: Path, *arguments: object) -> object:
        model = onnx.load(str(file))
        assert len(model.graph.output) == 1
        asked.append(len(model.graph.node[-1].input))
        return logits_of(file, *arguments)

    monkeypatch.setattr(bisect.accuracy, "logits_of", spy)
    monkeypatch.setattr(bisect, "CHUNK", 3)
    other = altered(exports["onnx-fp32"], "layer1.1.conv2", tmp_path / "other.onnx")
    files = (exports["onnx-fp32"], other)
    found = compare(files, images.take(np.arange(2)), DIGITS, tolerance=0.01, every=every)
    assert max(asked) == 3
    assert len(asked) == 2 * found.runs
    # 26 tensors, three at a time; or ceil(log3 26) steps, and one for what the found one reads
    assert found.runs == 9 if every else found.runs <= 4


def test_the_numbers_do_not_depend_on_how_many_images_fit_into_a_run(
    exports: dict[str, Path], images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (exports["onnx-fp32"], exports["onnx-int8"])
    whole = compare(files, images, DIGITS, tolerance=1)
    monkeypatch.setattr(bisect, "_RUN_BYTES", 4 * 8000 * 6)
    parts = compare(files, images, DIGITS, tolerance=1)
    for one, other in zip(whole.measured, parts.measured, strict=True):
        assert one.relative_error == pytest.approx(other.relative_error, rel=1e-6)
        assert one.max_error == pytest.approx(other.max_error, rel=1e-6)


def pixels() -> ImageSet:
    """Two images of two by two pixels: 51 is 0.2, 255 is 1."""
    found = np.array([[51, 255, 51, 255], [0, 51, 51, 0]], np.uint8).reshape(2, 2, 2, 1)
    return image_set(checked_pixels(found, "test"), [0, 1], ["a", "b"], "test")


def test_the_numbers_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    one = nets.linear(tmp_path / "one.onnx", [[1, 0, 0, 0], [0, 1, 0, 0]], (1, 2, 2))
    other = nets.linear(tmp_path / "other.onnx", [[2, 0, 0, 0], [0, 1, 0, 0]], (1, 2, 2))
    found = compare((one, other), pixels(), PLAIN, tolerance=0.19)
    # One gives 0.2, 1 and 0, 0.2 for the two images, the other 0.4, 1 and 0, 0.2.
    assert found.first is not None
    assert found.first.layer == "logits"
    assert found.first.relative_error == pytest.approx(0.2 / math.sqrt(1.08), rel=1e-5)
    assert found.first.cosine == pytest.approx(1.12 / math.sqrt(1.08 * 1.2), rel=1e-5)
    assert found.first.max_error == pytest.approx(0.2, rel=1e-5)
    assert errors(found)["flat"] == 0
    assert compare((one, other), pixels(), PLAIN, tolerance=0.2).first is None


def branches(path: Path, shift: float) -> Path:
    """Write logits = flat(early + late): the early branch adds ``shift``, the late one is long."""
    nodes = [
        helper.make_node("Add", ["images", "shift"], ["early/Add"]),
        helper.make_node("Relu", ["images"], ["late/Relu"]),
        helper.make_node("Relu", ["late/Relu"], ["late/Relu_1"]),
        helper.make_node("Relu", ["late/Relu_1"], ["late/Relu_2"]),
        helper.make_node("Add", ["early/Add", "late/Relu_2"], ["sum/Add"]),
        helper.make_node("Flatten", ["sum/Add"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.float32(shift), "shift")]
    return nets.write(path, nodes, ("N", 1, 2, 2), ("N", 4), constants)


def test_a_branch_that_the_search_has_passed_by_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bisect, "CHUNK", 2)
    files = (branches(tmp_path / "one.onnx", 0), branches(tmp_path / "other.onnx", 1))
    found = compare(files, pixels(), PLAIN, tolerance=0.1)
    assert found.first is not None
    assert found.first.layer == "early"


def test_many_branches_are_measured_a_chunk_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def joined(path: Path, shift: float) -> Path:
        nodes = [helper.make_node("Add", ["images", "shift"], [f"{b}/Add"]) for b in "abcde"]
        nodes.append(helper.make_node("Concat", [f"{b}/Add" for b in "abcde"], ["x/C"], axis=1))
        nodes.append(helper.make_node("Flatten", ["x/C"], ["logits"]))
        constants = [numpy_helper.from_array(np.float32(shift), "shift")]
        return nets.write(path, nodes, ("N", 1, 2, 2), ("N", 20), constants)

    written: list[int] = []
    write = Network.write

    def spy(net: Network, keys: list[str], path: Path) -> None:
        written.append(len(keys))
        write(net, keys, path)

    monkeypatch.setattr(Network, "write", spy)
    monkeypatch.setattr(bisect, "CHUNK", 2)
    files = (joined(tmp_path / "one.onnx", 0), joined(tmp_path / "other.onnx", 1))
    scale = bisect._Scale((Network(files[0]), Network(files[1])), pixels(), PLAIN, tmp_path)
    scale.measure(scale.nets[0].before("x/C", scale.nets[0].tensors))
    assert written == [2, 2, 2, 2, 1, 1]  # five branches, in both files
    assert sorted(scale.sums) == ["a/Add", "b/Add", "c/Add", "d/Add", "e/Add"]


def test_numbers_that_are_not_finite_differ(tmp_path: Path) -> None:
    files = (branches(tmp_path / "one.onnx", 0), branches(tmp_path / "other.onnx", math.nan))
    found = compare(files, pixels(), PLAIN, tolerance=1e9)
    assert found.first is not None
    assert found.first.layer == "early"
    assert (found.first.relative_error, found.first.max_error) == (math.inf, math.inf)
    assert found.first.cosine == 0


def test_where_the_first_file_has_zeros_every_number_is_wrong(tmp_path: Path) -> None:
    one = nets.linear(tmp_path / "one.onnx", np.zeros((2, 4)), (1, 2, 2))
    other = nets.linear(tmp_path / "other.onnx", np.ones((2, 4)), (1, 2, 2))
    found = compare((one, other), pixels(), PLAIN, tolerance=0.5)
    assert found.first is not None
    assert (found.first.relative_error, found.first.cosine) == (1.0, 0.0)


@pytest.mark.parametrize("batch", [1, 2, None])
def test_a_file_may_fix_its_batch_or_leave_it_without_a_name(
    tmp_path: Path, batch: int | None
) -> None:
    one = nets.linear(tmp_path / "one.onnx", np.eye(4), (1, 2, 2), batch)
    other = nets.linear(tmp_path / "other.onnx", np.eye(4), (1, 2, 2))
    found = compare((one, other), pixels(), PLAIN, tolerance=0.0)
    assert (list(errors(found)), found.first) == (["flat", "logits"], None)


def test_half_precision_is_compared_with_single(tmp_path: Path) -> None:
    def cast(source: str, result: str, kind: int) -> onnx.NodeProto:
        return helper.make_node("Cast", [source], [result], to=kind)

    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    shapes = (("N", 1, 2, 2), ("N", 4))
    nodes = [
        cast("images", "images/half", half),
        helper.make_node("Flatten", ["images/half"], ["a/Flatten"]),
        cast("a/Flatten", "logits", single),
    ]
    one = nets.write(tmp_path / "half.onnx", nodes, *shapes)
    nodes = [
        helper.make_node("Flatten", ["images"], ["a/Flatten"]),
        helper.make_node("Relu", ["a/Flatten"], ["logits"]),
    ]
    other = nets.write(tmp_path / "single.onnx", nodes, *shapes)
    found = compare((one, other), pixels(), PLAIN, tolerance=2**-11)
    assert found.first is None
    assert 0 < errors(found)["a/Flatten"] < 2**-11  # half of a unit in the last place


def test_files_without_a_tensor_in_common_are_refused(
    exports: dict[str, Path], images: ImageSet, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Flatten", ["images"], ["other"])]
    model = nets.write(tmp_path / "net.onnx", nodes, ("N", 1, 8, 8), ("N", 64))
    foreign = onnx.load(str(model))
    foreign.graph.output[0].name = "other"
    onnx.save(foreign, str(model))
    with pytest.raises(UsageError, match="have no tensor in common: one has conv1/Conv"):
        compare((exports["onnx-fp32"], model), images, DIGITS, tolerance=0.1)


def test_networks_of_other_shapes_are_refused(tmp_path: Path) -> None:
    one = nets.linear(tmp_path / "one.onnx", np.ones((2, 4)), (1, 2, 2))
    other = nets.linear(tmp_path / "other.onnx", np.ones((3, 4)), (1, 2, 2))
    with pytest.raises(UsageError, match=r"'logits' is \[2\] in .*one\.onnx', but \[3\] in"):
        compare((one, other), pixels(), PLAIN, tolerance=0.1)
