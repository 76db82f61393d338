"""What the training was worth, from records made by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core import run_folder
from edgekd.core.records import Epoch, Training
from edgekd.core.run_folder import Run
from edgekd.report import worth
from tests import builders
from tests.builders import Step


def made(folder: Path, **arguments: object) -> Run:
    builders.make_run(folder, **arguments)
    return run_folder.read(builders.conclude(folder))


def training(
    run: Run, *top1_percent: float | None, step_s: float, cache_s: float = 0.0
) -> Training:
    """Return a training whose epochs take so long and end so well."""
    found = run.trainings["deep"]
    epochs = tuple(
        found.epochs[0].model_copy(
            update={"epoch": place, "validation_top1_percent": top1, "train_seconds": step_s}
        )
        for place, top1 in enumerate(top1_percent, start=1)
    )
    return found.model_copy(update={"epochs": epochs, "cache_seconds": cache_s})


@pytest.fixture(scope="module")
def two_arms(tmp_path_factory: pytest.TempPathFactory) -> Run:
    arms = {"control": Step(lost=40, gained=6)}
    return made(tmp_path_factory.mktemp("runs") / "1", control=arms)


def arms(run: Run, deep: Training, control: Training) -> Run:
    return replace(run, trainings={"deep": deep, "control": control})


def test_recovery_is_the_share_of_the_loss_that_was_won_back(tmp_path: Path) -> None:
    # Teacher 95.0 %, cut 75.5 %, final 94.8 %: 19.3 of 19.5 pp.
    run = made(tmp_path / "1")
    assert worth.recovery_ratio(run) == pytest.approx(19.3 / 19.5)
    assert worth.recovery_sentence(run) == (
        "The stages won back 99 % of what pruning cost (R = 0.99)."
    )


def test_without_recalibration_the_cut_itself_counts(tmp_path: Path) -> None:
    checkpoints = {"pruned": Step(lost=100), "deep": Step(lost=50)}
    run = made(tmp_path / "1", checkpoints=checkpoints)
    assert worth.recovery_ratio(run) == pytest.approx(0.5)


def test_more_or_less_than_was_lost_is_said_in_words(tmp_path: Path) -> None:
    for number, (end, text) in enumerate(
        [
            (Step(gained=20), "The stages won back more than pruning cost (R = 1.20)."),
            (Step(lost=150), "The stages won back nothing of what pruning cost (R = -0.50)."),
        ]
    ):
        checkpoints = {"pruned": Step(lost=100), "deep": end}
        run = made(tmp_path / str(number), checkpoints=checkpoints)
        assert worth.recovery_sentence(run) == text


def test_a_cut_that_cost_nothing_beyond_chance_has_no_recovery(tmp_path: Path) -> None:
    checkpoints = {"pruned": Step(lost=8, gained=6), "deep": Step(lost=4)}
    run = made(tmp_path / "1", checkpoints=checkpoints)
    assert worth.recovery_ratio(run) is None
    assert worth.recovery_sentence(run) is None


def test_another_architecture_was_not_cut(tmp_path: Path) -> None:
    run = made(tmp_path / "1", checkpoints={"pruned": Step(lost=100), "deep": Step()})
    first = run.checkpoints["pruned"].model_copy(update={"stage": "initial"})
    assert (
        worth.recovery_ratio(replace(run, checkpoints={**run.checkpoints, "pruned": first})) is None
    )


def test_a_run_without_a_ladder_claims_nothing(two_arms: Run) -> None:
    run = replace(two_arms, ladder=None)
    assert worth.recovery_sentence(run) is None
    assert worth.gain_sentence(run) is None


@pytest.mark.parametrize(
    ("control", "begins"),
    [
        (Step(lost=40, gained=6), "Distilling is worth +3.20 pp ["),
        (Step(lost=9, gained=6), "Distilling made no difference beyond chance: +0.10 pp [-"),
        (Step(gained=20), "Distilling did harm: -2.20 pp [-"),
    ],
)
def test_the_gain_is_what_its_interval_allows(tmp_path: Path, control: Step, begins: str) -> None:
    sentence = worth.gain_sentence(made(tmp_path / "1", control={"control": control}))
    assert sentence is not None
    assert sentence.startswith(begins)
    assert sentence.endswith("'deep' against the same student taught by the labels alone.")


def test_time_to_target_counts_the_cached_answers(two_arms: Run) -> None:
    # The control is at its best, 92 %, after 3 of 4 epochs of 2 s; distilling after 1 s for the
    # teacher's answers and 1 epoch of 0.5 s.
    run = arms(
        two_arms,
        training(two_arms, 92.0, 93.0, step_s=0.5, cache_s=1.0),
        training(two_arms, 90.0, 91.0, 92.0, 91.0, step_s=2.0),
    )
    found = worth.time_to_target(run)
    assert found == worth.TimeToTarget(92.0, 6.0, 1.5)
    assert found.saving_ratio == pytest.approx(0.75)
    assert worth.time_sentence(run) == (
        "Distilling reached 92.00 % of the validation images after 1.5 s; the labels alone took "
        "6.0 s to get there, their best: 75 % less time."
    )


def test_distilling_may_take_longer(two_arms: Run) -> None:
    run = arms(two_arms, training(two_arms, 92.0, step_s=3.0), training(two_arms, 92.0, step_s=2.0))
    sentence = worth.time_sentence(run)
    assert sentence is not None
    assert sentence.endswith("their best: 50 % more time.")


def test_a_target_that_is_never_reached_is_called_so(two_arms: Run) -> None:
    run = arms(two_arms, training(two_arms, 91.9, step_s=1.0), training(two_arms, 92.0, step_s=1.0))
    found = worth.time_to_target(run)
    assert found is not None
    assert found.saving_ratio is None
    assert worth.time_sentence(run) == (
        "Distilling never reached 92.00 % of the validation images; the labels alone took 1.0 s "
        "to get there, their best."
    )


def test_labels_that_never_help_set_no_target(two_arms: Run) -> None:
    begun = two_arms.checkpoints["recalibrated"]  # 96 % of the validation images
    checkpoints = {
        name: found.model_copy(update={"parents": (begun.weights_sha256,)})
        for name, found in two_arms.checkpoints.items()
    }
    run = arms(
        replace(two_arms, checkpoints=checkpoints),
        training(two_arms, 97.0, step_s=1.0),
        training(two_arms, 92.0, step_s=1.0),
    )
    assert worth.time_sentence(run) == (
        "The labels alone never got beyond the 96.00 % of the validation images that the student "
        "started with."
    )


def test_a_run_without_a_control_arm_has_no_target(tmp_path: Path) -> None:
    assert worth.time_sentence(made(tmp_path / "1")) is None


def test_stages_follow_one_another_in_time(two_arms: Run) -> None:
    first = training(two_arms, 80.0, 81.0, step_s=1.0)
    second = training(two_arms, 90.0, step_s=2.0, cache_s=0.5)
    run = replace(two_arms, trainings={"classifier": first, "deep": second})
    assert worth.courses(run) == (worth.Course((1.0, 2.0, 4.5), (80.0, 81.0, 90.0)), None)


def test_what_labels_do_not_score_takes_time_alone(two_arms: Run) -> None:
    blind = training(two_arms, None, None, step_s=1.0)
    run = replace(
        two_arms, trainings={"classifier": blind, "deep": training(two_arms, 90.0, step_s=1.0)}
    )
    assert worth.courses(run)[0] == worth.Course((3.0,), (90.0,))


def test_an_arm_that_labels_never_score_has_no_time(two_arms: Run) -> None:
    begun = two_arms.checkpoints["recalibrated"]
    deep = two_arms.checkpoints["deep"].model_copy(update={"parents": (begun.weights_sha256,)})
    run = replace(two_arms, checkpoints={**two_arms.checkpoints, "deep": deep})
    blind, control = training(two_arms, None, step_s=1.0), training(two_arms, 90.0, step_s=1.0)
    sentence = worth.time_sentence(arms(run, blind, control))
    assert sentence is not None
    assert sentence.endswith("no labels scored the network that it ended with.")


def test_a_network_that_is_still_to_be_cut_is_no_point(two_arms: Run) -> None:
    larger = two_arms.checkpoints["classifier"].model_copy(update={"macs": 2 * 330_000})
    run = replace(two_arms, checkpoints={**two_arms.checkpoints, "classifier": larger})
    both = training(two_arms, 95.0, step_s=1.0), training(two_arms, 90.0, step_s=1.0)
    run = replace(run, trainings=dict(zip(("classifier", "deep"), both, strict=True)))
    assert worth.courses(run)[0] == worth.Course((2.0,), (90.0,))


def test_a_teacher_that_learns_takes_time_and_is_no_student(two_arms: Run) -> None:
    teacher = two_arms.checkpoints["classifier"].model_copy(update={"stage": "teacher"})
    run = replace(two_arms, checkpoints={**two_arms.checkpoints, "classifier": teacher})
    both = training(two_arms, 99.0, step_s=1.0), training(two_arms, 90.0, step_s=1.0)
    run = replace(run, trainings=dict(zip(("classifier", "deep"), both, strict=True)))
    assert worth.courses(run)[0] == worth.Course((2.0,), (90.0,))
    assert worth.recovery_ratio(run) == pytest.approx(19.3 / 19.5)


def shocks(*norms: tuple[float | None, float | None]) -> Training:
    """Return a training with each epoch's largest early and median norm."""
    found = builders._training("deep", 0)
    epochs: list[Epoch] = [
        found.epochs[0].model_copy(
            update={"early_backbone_norm": early, "backbone_norm": median, "feature_drift": None}
        )
        for early, median in norms
    ]
    return found.model_copy(update={"epochs": tuple(epochs)})


def test_shock_is_the_worst_of_the_early_steps_over_the_last_epoch() -> None:
    assert worth.shock_ratio(shocks((3.0, 2.0), (8.0, 1.0), (None, 4.0))) == 2.0


def test_a_frozen_backbone_has_no_shock() -> None:
    assert worth.shock_ratio(shocks((None, None))) is None
    assert worth.shock_sentence(shocks((None, None))) is None
    assert worth.shock_ratio(shocks()) is None
    assert worth.shock_ratio(shocks((1.0, 0.0))) is None


def test_drift_alone_is_said_alone() -> None:
    found = shocks((None, None))
    epoch = found.epochs[0].model_copy(update={"feature_drift": 0.0})
    sentence = worth.shock_sentence(found.model_copy(update={"epochs": (epoch,)}))
    assert sentence == (
        "Its first epoch changed what the classifier reads by 0.0000 on a scale from 0 to 1 "
        "(feature drift, 1 - linear CKA)."
    )
