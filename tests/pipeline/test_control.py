"""The control arm of a small run: where it begins, what it learns from, where it is shown."""

import pytest

from edgekd.core import run_folder, specs
from edgekd.core.run_folder import Run
from edgekd.pipeline import run as job


@pytest.fixture(scope="module")
def compared(small: specs.Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a control arm; only the last test writes to it."""
    recipe = small.model_copy(update={"control": True})
    return job.run(recipe, tmp_path_factory.mktemp("run") / "digits", name="digits")


def test_the_arm_begins_with_the_student_that_distilling_began_with(compared: Run) -> None:
    found = compared.checkpoints
    begun = found["recalibrated"].weights_sha256
    assert found["classifier"].parents[0] == begun
    assert found["control-classifier"].parents == (begun,)
    assert found["control"].parents == (found["control-classifier"].weights_sha256,)


def test_the_arm_learns_from_the_labels_alone_for_as_many_epochs(compared: Run) -> None:
    for name, mine in (("classifier", "control-classifier"), ("deep", "control")):
        epochs = compared.trainings[mine].epochs
        assert {term for epoch in epochs for term in epoch.terms} == {"ce"}
        assert len(epochs) == len(compared.trainings[name].epochs)


def test_the_arm_is_evaluated_beside_the_ladder_and_not_exported(compared: Run) -> None:
    assert compared.ladder is not None
    assert not [rung for rung in compared.ladder.rungs if run_folder.is_control(rung.name)]
    beside = compared.ladder.control
    assert beside is not None
    assert beside.rung.accuracy == compared.accuracies["control"].top1_percent
    assert beside.against == "deep"
    exported = {parent for found in compared.artifacts.values() for parent in found.parents}
    assert compared.checkpoints["control"].weights_sha256 not in exported


def test_going_on_without_the_arm_removes_it_and_keeps_the_rest(
    compared: Run, small: specs.Recipe
) -> None:
    after = job.run(small, compared.folder, name="digits", resume=True)
    assert after.checkpoints == {
        name: found
        for name, found in compared.checkpoints.items()
        if not run_folder.is_control(name)
    }
    assert after.ladder is not None
    assert after.ladder.control is None
