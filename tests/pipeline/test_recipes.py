"""Every built-in recipe of stages teaches a pruned, a quantised and a smaller student."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgekd.core import catalogue, recipe_files, records, specs
from edgekd.core.errors import EdgekdError, UsageError
from edgekd.models import build
from edgekd.pipeline import run as job
from edgekd.pipeline import single
from edgekd.pipeline.single import ModelArguments

STAGED = [
    name for name in catalogue.names("recipes") if "source" not in recipe_files.tree(name)["data"]
]
FOR_LARGE_IMAGES = {"attention-crop"}
# They compare channel by channel, which two architectures do not allow.
ONE_ARCHITECTURE = {"attention-feature", "feature-mse", "vft-pruned", "vft-quantized"}
TINY = ModelArguments("tests.pipeline.nets:tiny", mean=(0.3,), std=(0.4,))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> ModelArguments:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    save_file(build.build("digits_resnet", 10).state_dict(), path)
    return ModelArguments("digits_resnet", path)


@pytest.fixture(scope="module")
def pruned(teacher: ModelArguments, tmp_path_factory: pytest.TempPathFactory) -> ModelArguments:
    folder = tmp_path_factory.mktemp("students") / "pruned"
    single.prune(teacher, specs.Prune(recalibrate_images=128), "digits", folder, seed=0)
    return ModelArguments(str(folder))


@pytest.fixture(scope="module")
def quantised(pruned: ModelArguments, tmp_path_factory: pytest.TempPathFactory) -> ModelArguments:
    folder = tmp_path_factory.mktemp("students") / "quantised"
    spec = specs.Quantize(weights=4, activations=4, calibration_images=64, recalibrate_images=128)
    single.quantise(pruned, spec, "digits", folder, seed=0)
    return ModelArguments(str(folder))


def finetune(
    name: str, student: ModelArguments, teacher: ModelArguments, out: Path
) -> records.Checkpoint:
    """Run a recipe with one short epoch for each stage."""
    short = [f"stages.{i}.epochs=1" for i in range(len(recipe_files.tree(name)["stages"]))]
    if name == "hybrid":
        short.append("stages.2.prune.round_to=2")  # these students have few channels
    short += ["data.train_images=128", "data.batch_size=32", "training.compile=off"]
    return single.finetune(student, teacher, name, "digits", out, overrides=short)


def check(folder: Path, record: records.Checkpoint, stages: int) -> None:
    """Expect a student that has learnt something, and every stage's terms."""
    assert record.stage == "distilled"
    trainings = sorted(folder.glob("checkpoints/*/training.json"))
    assert len(trainings) == stages
    for path in trainings:
        (epoch,) = json.loads(path.read_text())["epochs"]
        assert epoch["terms"]
        assert set(epoch["weights"]) <= set(epoch["terms"])
        assert set(epoch["gradient_norms"]) <= set(epoch["terms"])


@pytest.mark.parametrize("name", sorted(set(STAGED) - FOR_LARGE_IMAGES))
def test_it_teaches_a_pruned_student(
    name: str, pruned: ModelArguments, teacher: ModelArguments, tmp_path: Path
) -> None:
    record = finetune(name, pruned, teacher, tmp_path / "out")
    check(tmp_path / "out", record, len(recipe_files.tree(name)["stages"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(STAGED) - FOR_LARGE_IMAGES - {"hybrid"}))
def test_it_teaches_a_quantised_student(
    name: str, quantised: ModelArguments, teacher: ModelArguments, tmp_path: Path
) -> None:
    record = finetune(name, quantised, teacher, tmp_path / "out")
    check(tmp_path / "out", record, len(recipe_files.tree(name)["stages"]))
    assert record.quantisation_sha256


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(STAGED) - FOR_LARGE_IMAGES - ONE_ARCHITECTURE))
def test_it_teaches_a_smaller_architecture(
    name: str, teacher: ModelArguments, tmp_path: Path
) -> None:
    record = finetune(name, TINY, teacher, tmp_path / "out")
    check(tmp_path / "out", record, len(recipe_files.tree(name)["stages"]))


@pytest.mark.parametrize("name", sorted(ONE_ARCHITECTURE))
def test_a_method_that_cannot_serve_two_architectures_names_the_way_out(
    name: str, teacher: ModelArguments, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"must be one architecture.*Use method 'kd', or one that"):
        finetune(name, TINY, teacher, tmp_path / "out")


def test_crops_of_small_images_are_refused(
    pruned: ModelArguments, teacher: ModelArguments, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="64"):
        finetune("attention-crop", pruned, teacher, tmp_path / "out")


def test_a_quantised_student_is_not_cut(
    quantised: ModelArguments, teacher: ModelArguments, tmp_path: Path
) -> None:
    with pytest.raises(EdgekdError, match="quantis"):
        finetune("hybrid", quantised, teacher, tmp_path / "out")


def test_in_turns_the_frozen_one_stays_as_it_was(
    pruned: ModelArguments, teacher: ModelArguments, tmp_path: Path
) -> None:
    finetune("bilateral", pruned, teacher, tmp_path / "out")
    found = {
        path.parent.name: load_file(path)
        for path in (tmp_path / "out" / "checkpoints").glob("*/model.safetensors")
    }
    stages = [found[f"round-{n}-{who}"] for n, who in ((1, "student"), (1, "teacher"))]
    assert set(stages[1]) == set(found["teacher"])
    shapes = [stage["layer1.0.conv1.weight"].shape for stage in stages]
    assert shapes[0] == found["initial"]["layer1.0.conv1.weight"].shape != shapes[1]


@pytest.fixture
def without_labels(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what replaces all labels of training and validation by nonsense."""
    from edgekd.data import sources

    load = sources.load

    def loaded(spec: specs.Data, *, seed: int) -> sources.Splits:
        splits = load(spec, seed=seed)
        for images in (splits.train, splits.validation):
            images.labels_n[:] = -1
        return splits

    def replace() -> None:
        monkeypatch.setattr(sources, "load", loaded)

    return replace


def test_without_labels_none_is_read(
    pruned: ModelArguments,
    teacher: ModelArguments,
    tmp_path: Path,
    without_labels: Callable[[], None],
) -> None:
    finetune("faqd", pruned, teacher, tmp_path / "with")
    without_labels()
    finetune("faqd", pruned, teacher, tmp_path / "without")
    weights = [load_file(tmp_path / out / "model.safetensors") for out in ("with", "without")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    record = json.loads((tmp_path / "with" / "checkpoints/taught/training.json").read_text())
    assert record["epochs"][0]["validation_top1_percent"] is None
    assert 0 <= record["epochs"][0]["validation_agreement_percent"] <= 100
    shutil.rmtree(tmp_path / "with")


@pytest.mark.slow
def test_two_classes_leave_a_student_of_a_tenth_of_the_weights(tmp_path: Path) -> None:
    recipe = specs.load(
        "two-class",
        [
            "teacher.model=digits_resnet",
            "teacher.train={epochs=15,learning_rate=0.05}",
            "data.source=tests.pipeline.nets:pair",
            "data.batch_size=32",
            "stages.0.epochs=10",
            "training.compile=off",
            "export.targets=['onnx-fp32']",
            "profile.blocks=6",
            "profile.runs=5",
        ],
    )
    run = job.run(recipe, tmp_path / "run", name="two-class")
    student, teacher = run.checkpoints["taught"], run.checkpoints["teacher"]
    assert student.classes == 2
    assert 0.05 <= student.parameters / teacher.parameters <= 0.12
    assert run.accuracies["taught"].top1_percent.value > 90
