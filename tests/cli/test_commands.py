"""Each command alone, on files, and what it says to bad input; in this process, to save time."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from edgekd.core import records
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """The same network as ONNX."""
    from edgekd.pipeline import single

    out = tmp_path_factory.mktemp("onnx") / "fp32"
    single.export(
        single.ModelArguments("digits_resnet", weights),
        "onnx-fp32",
        out,
        source="digits",
        calibrator="minmax",
        images=32,
        seed=0,
    )
    return out / "model.onnx"


def test_prune_writes_a_checkpoint_that_finetune_teaches(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    pruned, taught = tmp_path / "pruned", tmp_path / "taught"
    status, out, _ = edgekd(
        "prune", "digits_resnet", "--weights", weights, "--data", "digits", "--macs", 0.5,
        "--out", pruned, "--json",
    )  # fmt: skip
    assert status == 0
    assert json.loads(out)["stage"] == "recalibrated"
    status, out, _ = edgekd(
        "finetune", pruned, "--teacher", "digits_resnet", "--teacher-weights", weights,
        "--recipe", "digits", "--set", "stages.0.epochs=1", "--set", "stages.1.epochs=1",
        "--data", "digits", "--out", taught, "--json",
    )  # fmt: skip
    assert status == 0
    record = records.read(records.Checkpoint, taught / "checkpoint.json")
    assert json.loads(out) == record.model_dump(mode="json")
    assert record.stage == "distilled"
    assert record.macs == records.read(records.Checkpoint, pruned / "checkpoint.json").macs


def test_finetune_refuses_a_recipe_without_stages(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "none.toml"
    recipe.write_text(
        '[teacher]\nmodel = "digits_resnet"\nweights = "w"\n[data]\nsource = "digits"'
    )
    status, _, err = edgekd(
        "finetune", "digits_resnet", "--weights", weights, "--teacher", "digits_resnet",
        "--recipe", recipe, "--data", "digits", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert "has no [[stages]]" in err


def test_finetune_refuses_a_teacher_without_knowledge(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    status, _, err = edgekd(
        "finetune", "digits_resnet", "--weights", weights, "--teacher", "digits_resnet",
        "--recipe", "digits", "--data", "digits", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert "the teacher has random weights" in err


def test_finetune_refuses_what_its_own_arguments_say(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    status, _, err = edgekd(
        "finetune", "digits_resnet", "--teacher", "digits_resnet", "--recipe", "digits",
        "--set", "data.source=cifar10:x", "--data", "digits", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    assert "data.source=cifar10:x" in err


def test_a_folder_to_write_must_not_be_a_file(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    status, _, err = edgekd(
        "prune", "digits_resnet", "--weights", weights, "--classes", 10, "--out", tmp_path / "file"
    )
    assert status == 2
    assert "is a file" in err


def test_evaluate_gives_a_checkpoint_and_its_onnx_file_the_same_predictions(
    edgekd: Command, weights: Path, onnx_file: Path
) -> None:
    _, of_file, _ = edgekd("evaluate", onnx_file, "--data", "digits", "--json")
    _, of_net, _ = edgekd(
        "evaluate", "digits_resnet", "--weights", weights, "--data", "digits", "--json"
    )
    first, second = json.loads(of_file), json.loads(of_net)
    assert first["images"] == second["images"] == 720
    assert abs(first["correct"] - second["correct"]) <= 1  # a tie may fall either way


def test_quiet_prints_the_result_alone(edgekd: Command, onnx_file: Path) -> None:
    status, out, err = edgekd("-q", "evaluate", onnx_file, "--data", "digits")
    assert status == 0
    assert out.startswith("top-1 ")
    assert err == ""


def test_evaluate_keeps_predictions_beside_the_record(
    edgekd: Command, onnx_file: Path, tmp_path: Path
) -> None:
    status, _, _ = edgekd("evaluate", onnx_file, "--data", "digits", "--out", tmp_path / "a.json")
    assert status == 0
    record = records.read(records.Accuracy, tmp_path / "a.json")
    records.check_file(tmp_path / record.predictions_file, record.predictions_sha256)


def test_profile_measures_two_files_in_turns(
    edgekd: Command, onnx_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(onnx_file.read_bytes())
    status, out, _ = edgekd(
        "profile", onnx_file, "--against", other, "--blocks", 8, "--runs", 5,
        "--out", tmp_path / "profile", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert status == (3 if found["warnings"] else 0)  # the machine may be busy
    timings = found["timings"]
    assert [timing["subject"] for timing in timings] == [str(other), str(onnx_file)]
    assert timings[0]["ratio_to_first"] is None
    assert timings[1]["ratio_to_first"]["low"] <= timings[1]["ratio_to_first"]["high"]


def test_profile_finds_accuracy_and_layers_beside_the_record(
    edgekd: Command, onnx_file: Path, tmp_path: Path
) -> None:
    _, out, _ = edgekd(
        "profile", onnx_file, "--data", "digits", "--layers", "--blocks", 6, "--runs", 5,
        "--out", tmp_path / "p.json", "--json",
    )  # fmt: skip
    found = json.loads(out)
    record = records.read(records.Measurement, tmp_path / "p.json")
    records.check_file(tmp_path / record.samples_file, record.samples_sha256)
    accuracy = records.read(records.Accuracy, tmp_path / "p.accuracy.json")
    assert found["accuracies"] == [accuracy.model_dump(mode="json")]
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    assert (tmp_path / "p.layers.json").is_file()
    assert found["notes"]


def test_a_measurement_that_was_disturbed_is_inconclusive(
    edgekd: Command, onnx_file: Path, tmp_path: Path
) -> None:
    status, out, err = edgekd(
        "profile", onnx_file, "--blocks", 6, "--runs", 5, "--streams", 200, "--scenario", "multi",
        "--out", tmp_path / "p.json",
    )  # fmt: skip
    assert status == 3
    assert "p50" in out
    assert "200 threads share" in err


def test_profile_refuses_a_checkpoint_and_says_what_to_do(edgekd: Command, tmp_path: Path) -> None:
    status, _, err = edgekd("profile", tmp_path, "--out", tmp_path / "p")
    assert status == 2
    assert "edgekd export" in err


def test_profile_refuses_too_few_samples(edgekd: Command, onnx_file: Path, tmp_path: Path) -> None:
    status, _, err = edgekd(
        "profile", onnx_file, "--blocks", 6, "--runs", 3, "--out", tmp_path / "p"
    )
    assert status == 2
    assert "p90 needs 29 samples" in err


def test_export_needs_real_images_unless_random_ones_are_asked_for(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    arguments = ["export", "digits_resnet", "--weights", weights, "--classes", 10]
    status, _, err = edgekd(*arguments, "--target", "onnx-int8", "--out", tmp_path / "a")
    assert status == 2
    assert "--calibration" in err
    status, out, _ = edgekd(
        *arguments, "--target", "onnx-int8", "--calibration", "random",
        "--calibration-images", 16, "--out", tmp_path / "b",
    )  # fmt: skip
    assert status == 0
    assert "NOT VALID for accuracy" in out
    artifact = records.read(records.Artifact, tmp_path / "b" / "artifact.json")
    assert not artifact.accuracy_valid


def test_export_for_tensorrt_says_that_no_engine_was_built(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    status, out, _ = edgekd(
        "export", "digits_resnet", "--weights", weights, "--target", "tensorrt-int8",
        "--calibration", "digits", "--calibration-images", 32, "--out", tmp_path / "a",
    )  # fmt: skip
    assert status == 0
    assert "engine not built" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.pth"], "missing.pth"),
        (["--classes", "7"], "7"),
        (["--mean", "a,b"], "'--mean': expected numbers"),
        (["--mean", "0.1,0.2,0.3", "--std", "1,1,1"], "1 channels"),
    ],
)
def test_a_wrong_option_is_named(
    edgekd: Command, weights: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [] if "--weights" in arguments else ["--weights", weights]
    status, _, err = edgekd(
        "prune", "digits_resnet", *given, *arguments, "--data", "digits", "--out", tmp_path / "o"
    )
    assert status == 2
    assert message in err
    assert not (tmp_path / "o").exists()


def test_weights_with_nan_are_refused_by_name(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    state = load_file(weights)
    name = next(name for name, tensor in state.items() if tensor.dim() == 4)
    state[name][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    status, _, err = edgekd(
        "evaluate", "digits_resnet", "--weights", tmp_path / "nan.safetensors", "--data", "digits"
    )
    assert status == 2
    assert name in err


def test_weights_of_another_architecture_are_refused(edgekd: Command, weights: Path) -> None:
    status, _, err = edgekd(
        "evaluate", "cifar_resnet20", "--weights", weights, "--classes", 10, "--data", "digits"
    )
    assert status == 2
    assert "architecture" in err


def test_a_pack_of_other_classes_is_refused(
    edgekd: Command, onnx_file: Path, tmp_path: Path
) -> None:
    images = np.zeros((6, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "p.npz", images=images, labels=np.arange(6) % 3, classes=["a", "b", "c"])
    status, _, err = edgekd("evaluate", onnx_file, "--data", f"pack:{tmp_path / 'p.npz'}")
    assert status == 2
    assert "error: " in err


def test_gate_and_report_read_a_finished_run(edgekd: Command, tmp_path: Path) -> None:
    from tests.builders import make_run

    folder = make_run(tmp_path / "run")
    rules = tmp_path / "rules.toml"
    rules.write_text("[gate]\nsize_ratio = { limit = 1e-6 }\n")
    junit, markdown = tmp_path / "gate.xml", tmp_path / "gate.md"
    status, out, _ = edgekd(
        "gate", folder, "--rules", rules, "--junit", junit, "--markdown", markdown
    )
    assert status == 1
    assert "FAILED" in out
    assert "<failure" in junit.read_text()
    assert "failed" in markdown.read_text().lower()
    status, _, err = edgekd("report", folder, "--out", tmp_path / "r.html")
    assert status == 0
    assert (tmp_path / "r.html").read_text().startswith("<!")
    assert "r.html" in err


def test_gate_refuses_a_folder_that_is_no_run(edgekd: Command, tmp_path: Path) -> None:
    status, _, err = edgekd("gate", tmp_path)
    assert status == 2
    assert "not a run's folder" in err
