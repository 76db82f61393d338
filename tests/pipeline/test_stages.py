"""Stages that cut the student first, and stages in which the teacher learns."""

from pathlib import Path

import pytest

from edgekd.core import specs
from edgekd.core.errors import UsageError
from edgekd.core.run_folder import Run
from edgekd.pipeline import plan
from edgekd.pipeline import run as job
from tests.pipeline.conftest import SMALL

KD = "methods=[{name='kd',weight=0.5}]"
STAGES = [
    f"{{name='first',epochs=1,learning_rate=0.01,{KD}}}",
    f"{{name='back',learner='teacher',epochs=1,learning_rate=0.01,{KD}}}",
    f"{{name='last',epochs=1,learning_rate=0.01,prune={{macs=0.65,round_to=4,recalibrate_images=128}},{KD}}}",
]


@pytest.fixture(scope="module")
def recipe() -> specs.Recipe:
    small = [change for change in SMALL if not change.startswith("stages.")]
    return specs.load("digits", [*small, f"stages=[{','.join(STAGES)}]"])


@pytest.fixture(scope="module")
def finished(recipe: specs.Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return job.run(recipe, tmp_path_factory.mktemp("stages") / "run", name="digits")


def test_checkpoints_are_those_of_the_plan(recipe: specs.Recipe, finished: Run) -> None:
    expected = [
        *("teacher", "pruned", "recalibrated", "first", "back"),
        *("last-pruned", "last-recalibrated", "last"),
    ]
    assert plan.checkpoints(recipe) == list(finished.checkpoints) == expected


def test_a_stage_cuts_what_the_stage_before_has_taught(finished: Run) -> None:
    made = finished.checkpoints
    assert made["last"].macs == made["last-pruned"].macs < made["first"].macs
    assert made["first"].weights_sha256 in made["last-pruned"].parents


def test_the_teacher_learns_from_the_student_and_teaches_on(finished: Run) -> None:
    made = finished.checkpoints
    assert made["back"].macs == made["teacher"].macs
    assert made["back"].parents == (made["teacher"].weights_sha256, made["first"].weights_sha256)
    assert made["back"].weights_sha256 in made["last"].parents


def test_a_teacher_that_was_taught_is_no_rung_of_the_ladder(finished: Run) -> None:
    assert finished.ladder is not None
    names = [rung.name for rung in finished.ladder.rungs]
    assert "back" not in names
    assert names.index("last-recalibrated") < names.index("last") < names.index("onnx-int8")


def test_what_another_recipe_left_is_removed(
    recipe: specs.Recipe, finished: Run, tmp_path: Path
) -> None:
    shorter = recipe.model_copy(update={"stages": recipe.stages[:1]})
    job.run(recipe, tmp_path / "run", name="digits")
    after = job.run(shorter, tmp_path / "run", name="digits", resume=True)
    assert list(after.checkpoints) == ["teacher", "pruned", "recalibrated", "first"]
    assert after.checkpoints["first"].weights_sha256 == finished.checkpoints["first"].weights_sha256


def test_a_cut_that_cannot_be_made_is_told_of_before_training(
    recipe: specs.Recipe, tmp_path: Path
) -> None:
    last = recipe.stages[-1]
    assert last.prune is not None
    deep = last.model_copy(update={"prune": last.prune.model_copy(update={"macs": 0.01})})
    impossible = recipe.model_copy(update={"stages": (*recipe.stages[:-1], deep)})
    with pytest.raises(UsageError, match="of the MACs are to be left"):
        job.run(impossible, tmp_path / "run", name="digits")
    assert not (tmp_path / "run" / "checkpoints" / "first").exists()
