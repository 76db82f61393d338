"""Layer by layer on a small network, one layer of which is made sensitive on purpose."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgekd.core import records, specs
from edgekd.core.errors import UsageError
from edgekd.core.sensitivity import Sensitivity
from edgekd.evaluate import accuracy
from edgekd.evaluate.sensitivity import damage
from edgekd.export.graph import Graph
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.pipeline import sensitivity, single
from edgekd.pipeline.sensitivity import Settings
from edgekd.pipeline.variants import Variants
from tests.pipeline import sensitive

SOURCE = "tests.pipeline.sensitive:images"
SMALL = Settings(calibrator="minmax", calibration_images=64, rule=specs.AccuracyRule(margin=5))

MILD = specs.AccuracyRule(margin=15)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sensitive.save(tmp_path_factory.mktemp("spoiled") / "net", spoiled=True)


def look(folder: Path, out: Path, settings: Settings = SMALL) -> Sensitivity:
    return sensitivity.sensitivity(single.ModelArguments(str(folder)), SOURCE, out, settings)


@pytest.fixture(scope="module")
def looked(spoiled: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sensitivity, Path]:
    """The record and its folder; read them, do not write to them."""
    out = tmp_path_factory.mktemp("looked") / "out"
    return look(spoiled, out, replace(SMALL, leave_one_out=True)), out


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were classified with from now on."""
    files: list[Path] = []
    classify: Callable[..., np.ndarray] = accuracy.logits_of

    def count(file: Path, *arguments: object, **more: object) -> np.ndarray:
        files.append(file)
        return classify(file, *arguments, **more)

    monkeypatch.setattr(accuracy, "logits_of", count)
    return files


def test_the_spoiled_layer_comes_first_and_by_far(looked: tuple[Sensitivity, Path]) -> None:
    found, _ = looked
    assert {one.layer for one in found.layers} == set(sensitive.LAYERS)
    assert found.left_float == ("linear",)
    first, second = found.layers[:2]
    assert (first.layer, first.operator) == ("depthwise", "Conv")
    assert first.alone.kl_nats > 10 * second.alone.kl_nats
    assert first.alone.lost > 20 > second.alone.lost


def test_all_but_the_spoiled_layer_are_nearly_right(looked: tuple[Sensitivity, Path]) -> None:
    found, _ = looked
    first = found.layers[0].without
    assert first is not None
    for other in found.layers[1:]:
        assert other.without is not None
        assert first.kl_nats < other.without.kl_nats / 5


def test_mixed_precision_leaves_the_spoiled_layer_alone_in_float(
    looked: tuple[Sensitivity, Path],
) -> None:
    mixed = looked[0].mixed
    assert mixed is not None
    assert (mixed.state, mixed.keep_float) == ("passed", ("depthwise",))
    assert mixed.trials[0].keep_float == ()
    assert mixed.trials[0].state == "failed"
    judged = {trial.keep_float: trial.state for trial in mixed.trials}
    assert judged[("depthwise",)] == "passed"


def test_the_target_that_is_written_exports_what_was_found(
    looked: tuple[Sensitivity, Path], spoiled: Path, tmp_path: Path
) -> None:
    found, out = looked
    target = Target.read(str(out / "mixed.toml"))
    assert target.name == "tensorrt-int8-mixed"
    assert target.quantise.keep_float == ("depthwise",)
    single.export(
        single.ModelArguments(str(spoiled)), str(out / "mixed.toml"), tmp_path / "export",
        source=SOURCE, calibrator="minmax", images=64, seed=0,
    )  # fmt: skip
    graph = Graph(onnx.load(str(tmp_path / "export" / "model.onnx")))
    floating = {
        node.name
        for node in graph.nodes
        if node.op_type in {"Conv", "Gemm"} and not graph.producer(node.input[1])
    }
    assert floating == {"depthwise/Conv", "linear/Gemm"}
    model = checkpoint.load(spoiled)
    validation = single.load(SOURCE, single.ModelArguments(str(spoiled)), 0).validation
    logits_nk = accuracy.logits_of(
        tmp_path / "export" / "model.onnx", validation, model.record.normalisation
    )
    wrong = int((logits_nk.argmax(1) != validation.labels_n).sum())
    assert found.mixed is not None
    assert found.layers[0].without is not None
    assert wrong == found.layers[0].without.lost


def test_record_and_page_are_written(looked: tuple[Sensitivity, Path]) -> None:
    found, out = looked
    assert records.read(Sensitivity, out / "sensitivity.json") == found
    assert "depthwise" in (out / "sensitivity.html").read_text()


def test_validation_images_are_compared_and_no_others(
    looked: tuple[Sensitivity, Path], spoiled: Path
) -> None:
    splits = single.load(SOURCE, single.ModelArguments(str(spoiled)), 0)
    assert (looked[0].images, looked[0].images_sha256) == (300, splits.validation.sha256)
    assert looked[0].top1_percent == pytest.approx(100, abs=0.5)


def test_a_second_call_classifies_nothing(
    looked: tuple[Sensitivity, Path], spoiled: Path, tmp_path: Path, counted: list[Path]
) -> None:
    found, out = looked
    shutil.copytree(out / "cache", tmp_path / "cache")
    again = look(spoiled, tmp_path, replace(SMALL, leave_one_out=True))
    assert counted == []
    assert again.layers == found.layers
    assert again.mixed == found.mixed


def test_an_interrupted_call_goes_on_where_it_was(
    looked: tuple[Sensitivity, Path], spoiled: Path, tmp_path: Path, counted: list[Path]
) -> None:
    found, out = looked
    shutil.copytree(out / "cache", tmp_path / "cache")
    kept = sorted(tmp_path.glob("cache/*/variants/*.json"))
    for path in kept[:2]:
        path.unlink()
    assert look(spoiled, tmp_path, replace(SMALL, leave_one_out=True)).layers == found.layers
    assert len(counted) == 2


def test_other_settings_are_another_study(spoiled: Path) -> None:
    model = checkpoint.load(spoiled)
    splits = single.load(SOURCE, single.ModelArguments(str(spoiled)), 0)
    target = Target.read("tensorrt-int8")
    one = Variants(model, target, splits.train, "minmax", splits.validation, Path())
    others = [
        replace(one, calibrator="entropy"),
        replace(one, validation=splits.validation.take(np.arange(10))),
        replace(one, calibration=splits.train.take(np.arange(10))),
        replace(one, target=one.target_with(["project"])),
    ]
    assert len({other.home for other in [one, *others]}) == 5
    assert replace(one, folder=Path()).home == one.home


@pytest.mark.parametrize(
    "target", ["tensorrt-int8", pytest.param("onnx-int8", marks=pytest.mark.slow)]
)
def test_a_healthy_network_needs_no_layer_in_float(tmp_path: Path, target: str) -> None:
    folder = sensitive.save(tmp_path / "net", spoiled=False)
    found = look(folder, tmp_path / "out", replace(SMALL, target=target, rule=MILD))
    assert found.mixed is not None
    assert (found.mixed.state, found.mixed.keep_float) == ("passed", ())
    assert len(found.mixed.trials) == 1
    assert (
        Target.read(str(tmp_path / "out" / "mixed.toml")).quantise == Target.read(target).quantise
    )


@pytest.mark.slow
def test_a_variant_is_what_an_export_would_write(spoiled: Path, tmp_path: Path) -> None:
    """Of a student that was quantised before, layers and ranges come from there."""
    arguments = single.ModelArguments(str(spoiled))
    spec = specs.Quantize(keep=("expand",), calibration_images=64)
    single.quantise(arguments, spec, SOURCE, tmp_path / "net", seed=0)
    arguments = single.ModelArguments(str(tmp_path / "net"))
    settings = replace(SMALL, target="tensorrt-int8-fp16", rule=None)
    found = look(tmp_path / "net", tmp_path / "out", settings)
    assert found.left_float == ("expand", "linear")
    single.export(
        arguments, settings.target, tmp_path / "export",
        source=SOURCE, calibrator="minmax", images=64, seed=0,
    )  # fmt: skip
    model = checkpoint.load(tmp_path / "net")
    splits = single.load(SOURCE, arguments, 0)
    exported_nk = accuracy.logits_of(
        tmp_path / "export" / "model.onnx", splits.validation, model.record.normalisation
    )
    (float_file,) = tmp_path.glob("out/cache/*/float.npy")
    expected = damage(np.load(float_file), exported_nk, splits.validation.labels_n)
    assert found.everything.relative_l2 == pytest.approx(expected.relative_l2, rel=0.02)
    assert found.everything.lost == pytest.approx(expected.lost, abs=2)


def test_no_target_is_left_where_none_was_found(
    looked: tuple[Sensitivity, Path], spoiled: Path, tmp_path: Path
) -> None:
    shutil.copytree(looked[1], tmp_path, dirs_exist_ok=True)
    found = look(spoiled, tmp_path, replace(SMALL, rule=specs.AccuracyRule(margin=0.5)))
    assert found.mixed is not None
    assert found.mixed.state == "inconclusive"
    assert not (tmp_path / "mixed.toml").exists()


def test_fewer_images_are_drawn_class_by_class(spoiled: Path, tmp_path: Path) -> None:
    splits = single.load(SOURCE, single.ModelArguments(str(spoiled)), 0)
    few = sensitivity._variants(
        checkpoint.load(spoiled),
        Target.read("tensorrt-int8"),
        splits,
        Settings(images=30),
        tmp_path,
    ).validation
    shares = np.bincount(few.labels_n) / 30 - np.bincount(splits.validation.labels_n) / 300
    assert len(few) == 30
    assert np.abs(shares).max() <= 1 / 30


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(target="onnx-fp16"), "computes in fp16"),
        (Settings(images=0), "--images is 0"),
        (Settings(calibration_images=0), "--calibration-images is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    spoiled: Path, tmp_path: Path, settings: Settings, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        look(spoiled, tmp_path / "out", settings)


def test_images_of_other_classes_are_refused(spoiled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 4 classes, but the images have 10"):
        sensitivity.sensitivity(
            single.ModelArguments(str(spoiled)), "digits", tmp_path / "out", SMALL
        )


@pytest.mark.slow
def test_a_spoiled_channel_is_found_in_a_trained_network(shared_data: Path, tmp_path: Path) -> None:
    """Real weights and photographs: the layer that reads the large channel must stay float."""
    unpack = [sys.executable, str(shared_data / "unpack.py"), "cifar10", str(tmp_path / "cifar10")]
    subprocess.run(unpack, check=True)
    weights = shared_data / "weights" / "cifar10_resnet20.safetensors"
    model = checkpoint.open_model("cifar_resnet20", weights=weights)
    block = model.module.get_submodule("layer2.1")
    with torch.no_grad():
        channel = int((block.bn1.weight + block.bn1.bias).argmax())
        block.bn1.weight[channel] *= 1000
        block.bn1.bias[channel] *= 1000
        block.conv2.weight[:, channel] /= 1000
    checkpoint.save(tmp_path / "net", model.module, model.record, model.surgery)
    found = sensitivity.sensitivity(
        single.ModelArguments(str(tmp_path / "net")),
        f"cifar10:{tmp_path / 'cifar10'}",
        tmp_path / "out",
        replace(SMALL, images=300, rule=specs.AccuracyRule(margin=4)),
    )
    assert found.top1_percent > 75  # trained on other pixels; spoiling changed no answer
    assert found.everything.drop_pp.low > 4
    assert found.layers[0].layer == "layer2.1.conv2"
    assert found.mixed is not None
    assert (found.mixed.state, found.mixed.keep_float) == ("passed", ("layer2.1.conv2",))
