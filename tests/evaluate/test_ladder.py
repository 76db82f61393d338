from pathlib import Path

import pytest

from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy, Artifact, Ladder
from edgekd.core.run_folder import REFERENCE
from edgekd.evaluate import ladder
from tests import builders
from tests.builders import Step

RECOVERED = {"pruned": Step(lost=700), "deep": Step(lost=8, gained=6)}
FINE = {"onnx-fp32": Step(lost=8, gained=6)}


def climb(folder: Path, **arguments: object) -> Ladder:
    return ladder.ladder(ladder.footholds(builders.read_run(folder, **arguments)))


def test_rungs_stand_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    found = climb(tmp_path)
    expected = ["teacher", REFERENCE, *builders.CHECKPOINTS, *builders.ARTIFACTS]
    assert [rung.name for rung in found.rungs] == expected


def test_teacher_has_neither_a_drop_nor_a_step(tmp_path: Path) -> None:
    teacher = climb(tmp_path).rungs[0]
    assert (teacher.drop_pp, teacher.step_p_value) == (None, None)


def test_drop_is_below_the_teacher_and_the_step_from_the_rung_above(tmp_path: Path) -> None:
    # deep loses 8 of the teacher's images and gains 6; onnx-int8 loses 3 more: p = 2 / 2^3.
    rung = climb(tmp_path).rungs[-1]
    assert rung.drop_pp is not None
    assert rung.drop_pp.value == pytest.approx(0.5)
    assert rung.step_p_value == pytest.approx(0.25)


def test_a_file_has_the_macs_of_its_checkpoint_and_its_own_bytes(tmp_path: Path) -> None:
    rungs = {rung.name: rung for rung in climb(tmp_path).rungs}
    assert (rungs[REFERENCE].macs, rungs["onnx-int8"].macs) == (1_000_000, 330_000)
    assert rungs["onnx-int8"].bytes == 110_000
    assert rungs["deep"].bytes == len("deep")  # the stand-in for its weights


def test_an_engine_stands_behind_its_file_and_is_blamed_for_what_it_alone_loses(
    tmp_path: Path,
) -> None:
    files = {"tensorrt-int8": FINE["onnx-fp32"], **FINE}
    run = builders.make_run(tmp_path, checkpoints=RECOVERED, artifacts=files)
    builders.write_engine(run, "tensorrt-int8", Step(lost=40, gained=6, bytes=120_000))
    found = ladder.ladder(ladder.footholds(run_folder.read(run)))
    *_, file, engine, last = found.rungs
    assert [file.name, engine.name, last.name] == [
        "tensorrt-int8", "tensorrt-int8-engine", "onnx-fp32",
    ]  # fmt: skip
    assert found.blamed == "tensorrt-int8-engine"
    assert (engine.macs, engine.bytes) == (file.macs, 120_000)


def test_nothing_is_blamed_where_training_wins_back_what_pruning_lost(tmp_path: Path) -> None:
    assert climb(tmp_path, checkpoints=RECOVERED, artifacts=FINE).blamed is None


def test_pruning_is_blamed_where_training_does_not_win_it_back(tmp_path: Path) -> None:
    checkpoints = {"pruned": Step(lost=700), "deep": Step(lost=60, gained=5)}
    assert climb(tmp_path, checkpoints=checkpoints, artifacts=FINE).blamed == "pruned"


def test_an_export_that_loses_images_is_blamed(tmp_path: Path) -> None:
    artifacts = {"onnx-fp32": Step(lost=8, gained=6), "onnx-int8": Step(lost=40, gained=6)}
    assert climb(tmp_path, checkpoints=RECOVERED, artifacts=artifacts).blamed == "onnx-int8"


def test_a_good_file_does_not_excuse_a_bad_one_above_it(tmp_path: Path) -> None:
    artifacts = {"onnx-int8": Step(lost=40, gained=6), "onnx-fp32": Step(lost=8, gained=6)}
    assert climb(tmp_path, checkpoints=RECOVERED, artifacts=artifacts).blamed == "onnx-int8"


def test_a_stage_that_does_harm_is_blamed(tmp_path: Path) -> None:
    checkpoints = {
        "pruned": Step(lost=100),
        "first": Step(lost=8, gained=6),
        "second": Step(lost=50, gained=6),
    }
    artifacts = {"onnx-fp32": Step(lost=50, gained=6)}
    # Pruning lost 100, and 44 are missing at the end: it is the first that is not won back.
    assert climb(tmp_path, checkpoints=checkpoints, artifacts=artifacts).blamed == "pruned"
    del checkpoints["pruned"]
    found = climb(tmp_path / "2", checkpoints=checkpoints, artifacts=artifacts)
    assert found.blamed == "second"


def test_a_step_that_gains_is_never_blamed(tmp_path: Path) -> None:
    checkpoints = {"deep": Step(lost=1, gained=20)}
    artifacts = {"onnx-fp32": Step(gained=40)}
    assert climb(tmp_path, checkpoints=checkpoints, artifacts=artifacts).blamed is None


def test_six_lost_images_are_chance_among_several_steps_though_not_alone(tmp_path: Path) -> None:
    # p = 2 / 2^6 = 0.031: below 5 % alone, above it as the smallest of two or more (Holm).
    footholds = ladder.footholds(
        builders.read_run(tmp_path, checkpoints={"deep": Step(lost=6)}, artifacts={})
    )
    teacher, file, student = footholds
    alone, both = ladder.ladder([teacher, student]), ladder.ladder([teacher, file, student])
    assert alone.rungs[-1].step_p_value == both.rungs[-1].step_p_value == pytest.approx(2 / 2**6)
    assert (alone.blamed, both.blamed) == ("deep", None)


def test_a_teacher_alone_has_nothing_to_blame(tmp_path: Path) -> None:
    teacher = ladder.footholds(builders.read_run(tmp_path))[0]
    found = ladder.ladder([teacher])
    assert (len(found.rungs), found.blamed) == (1, None)


def test_the_control_arm_stands_beside_the_ladder(tmp_path: Path) -> None:
    arms = {"control-classifier": Step(lost=90), "control": Step(lost=40, gained=6)}
    run = builders.read_run(tmp_path, control=arms)
    found = ladder.ladder(ladder.footholds(run))
    assert not [rung.name for rung in found.rungs if rung.name.startswith("control")]
    beside = ladder.control(run)
    assert beside is not None
    # deep loses 8 of the teacher's images and gains 6, as the control does, which loses 32 more.
    assert (beside.rung.name, beside.against) == ("control", "deep")
    assert beside.gain_pp.value == pytest.approx(3.2)
    assert beside.gain_pp.low > 0
    assert beside.rung.drop_pp is not None
    assert beside.rung.drop_pp.value == pytest.approx(3.4)


def test_a_run_without_a_control_arm_has_none(tmp_path: Path) -> None:
    assert ladder.control(builders.read_run(tmp_path)) is None


def test_a_control_arm_on_other_images_is_refused(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path, control={"control": Step(lost=40)})
    builders.change(Accuracy, run_folder.accuracy(run, "control"), images_sha256="f" * 64)
    with pytest.raises(RecordError, match="'control' and 'teacher' were evaluated on different"):
        ladder.control(run_folder.read(run))


def test_a_step_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    run_folder.accuracy(run, "onnx-int8").unlink()
    with pytest.raises(RecordError, match="needs the accuracy of 'onnx-int8'"):
        ladder.footholds(run_folder.read(run))


def test_steps_on_different_images_are_refused(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    builders.change(Accuracy, run_folder.accuracy(run, "deep"), images_sha256="f" * 64)
    with pytest.raises(RecordError, match="'deep' and 'teacher' were evaluated on different"):
        ladder.ladder(ladder.footholds(run_folder.read(run)))


def test_changed_predictions_are_refused(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    run_folder.accuracy(run, "deep").with_suffix(".npz").write_bytes(b"better ones")
    with pytest.raises(RecordError, match=r"'.*deep.npz' was changed"):
        ladder.footholds(run_folder.read(run))


def test_a_file_of_unknown_origin_is_refused(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(Artifact, path, parents=("0" * 64,))
    with pytest.raises(RecordError, match="exported from none of this run's checkpoints"):
        ladder.footholds(run_folder.read(run))


def test_a_run_without_a_teacher_has_no_ladder(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    (run_folder.checkpoint(run, "teacher") / "checkpoint.json").unlink()
    with pytest.raises(RecordError, match="no checkpoint 'teacher'"):
        ladder.footholds(run_folder.read(run))


def test_a_ladder_can_be_written_and_read(tmp_path: Path) -> None:
    found = climb(tmp_path)
    records.write(found, tmp_path / "ladder.json")
    assert records.read(Ladder, tmp_path / "ladder.json") == found
