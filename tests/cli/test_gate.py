import json
from pathlib import Path

import pytest

from edgekd.core import files, records, run_folder
from edgekd.core.records import Accuracy, Artifact, Measurement
from tests import builders
from tests.cli.conftest import Command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return builders.make_run(tmp_path / "run")


def rules(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(f"[gate]\n{text}\n")
    return path


SIZE = "size_ratio = { limit = 1.0 }"
DROP = 'top1_drop_pp = { margin = 2.0, artifacts = ["onnx-int8"] }'
SPEED = 'latency_ratio = { limit = 0.8, artifacts = ["onnx-int8"] }'


def spoil_schema(run: Path) -> None:
    path = run_folder.accuracy(run, "teacher")
    files.write_text(path, path.read_text().replace('"schema_version": 1', '"schema_version": 2'))


def spoil_number(run: Path) -> None:
    path = run_folder.measurement(run) / "measurement.json"
    files.write_text(path, path.read_text().replace('"load_ms": 12.0', '"load_ms": NaN'))


def lose_pair(run: Path) -> None:
    run_folder.accuracy(run, "onnx-int8").with_suffix(".npz").unlink()


def other_images(run: Path) -> None:
    builders.change(Accuracy, run_folder.accuracy(run, "onnx-int8"), images_sha256="f" * 64)


def tamper_samples(run: Path) -> None:
    (run_folder.measurement(run) / "samples.npz").write_bytes(b"faster ones")


def tamper_predictions(run: Path) -> None:
    path = run_folder.accuracy(run, "onnx-int8")
    path.with_suffix(".npz").write_bytes(path.with_name("teacher.npz").read_bytes() + b" ")


def tamper_count(run: Path) -> None:
    builders.change(Accuracy, run_folder.accuracy(run, "onnx-int8"), correct=1000)


def empty(run: Path) -> None:
    for path in sorted(run.rglob("*"), reverse=True):
        if path.name != "recipe.json":
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_schema, "Accuracy record of schema 1"),
        (spoil_number, "no Measurement record"),
        (lose_pair, "onnx-int8.npz' is missing"),
        (other_images, "evaluated on different images"),
        (tamper_samples, "samples.npz' was changed"),
        (tamper_predictions, "onnx-int8.npz' was changed"),
        (tamper_count, "but its record says 1000 of 1000"),
        (empty, "has no exported student"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_never_passes(
    edgekd: Command, run: Path, tmp_path: Path, spoil, said: str
) -> None:
    asked = rules(tmp_path, f"{SIZE}\n{DROP}\n{SPEED}")
    assert edgekd("gate", run, "--rules", asked)[0] == 0
    spoil(run)
    status, out, err = edgekd("gate", run, "--rules", asked)
    assert status == 2
    assert "passed" not in out.lower()
    assert said in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("top1_drop = { margin = 1 }", "Did you mean 'top1_drop_pp'"),
        ("latency_p99 = { limit = 1 }", "Did you mean 'latency_p99_ms'"),
        ("top1_drop_pp = { limit = 1 }", "unknown key"),
        ("size_ratio = { limit = nan }", "size_ratio.limit"),
        ("size_ratio = { limit = inf }", "size_ratio.limit"),
        ("", "no rule that decides"),
        ('latency_p50_ms = { limit = 9, devices = ["orin"] }', "is for orin"),
        ('size_mib = { limit = 9, artifacts = ["onnx-int4"] }', "Did you mean 'onnx-int8'"),
        ("latency_baseline_ratio = { limit = 1 }", "--baselines DIR"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(
    edgekd: Command, run: Path, tmp_path: Path, text: str, said: str
) -> None:
    status, out, err = edgekd("gate", run, "--rules", rules(tmp_path, text))
    assert (status, out) == (2, "")
    assert said in err


def test_baseline_is_written_on_request_alone_and_compared_with(
    edgekd: Command, run: Path, tmp_path: Path
) -> None:
    asked = rules(tmp_path, "latency_baseline_ratio = { limit = 1.05 }")
    folder = tmp_path / "baselines"
    compare = ("gate", run, "--rules", asked, "--baselines", folder)
    status, _, err = edgekd(*compare)
    assert status == 2
    assert "write one with `edgekd gate GOOD_RUN --baselines" in err
    assert not folder.exists()
    status, out, _ = edgekd("gate", run, "--baselines", folder, "--update")
    assert (status, out) == (0, f"baseline: {folder / 'host-cpu.json'}\n")
    assert edgekd(*compare)[0] == 0
    before = (folder / "host-cpu.json").read_bytes()
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, engine="onnxruntime 9.9")
    status, _, err = edgekd(*compare)
    assert status == 2
    assert "engine 'onnxruntime 1.31.1, CPUExecutionProvider' then, 'onnxruntime 9.9' now" in err
    assert (folder / "host-cpu.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--update"], "say where with --baselines"),
        (["--update", "--baselines", "b", "--junit", "j.xml"], "--update judges nothing"),
        (["--baselines", "b"], "no rule compares with a baseline"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    edgekd: Command, run: Path, options: list[str], said: str
) -> None:
    status, _, err = edgekd("gate", run, *options)
    assert status == 2
    assert said in err


def test_disturbed_measurement_becomes_no_baseline(
    edgekd: Command, run: Path, tmp_path: Path
) -> None:
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("the board throttled",))
    status, _, err = edgekd("gate", run, "--baselines", tmp_path / "b", "--update")
    assert status == 3
    assert "the board throttled" in err
    assert not (tmp_path / "b").exists()


def test_undecided_latency_names_what_to_measure_again(
    edgekd: Command, run: Path, tmp_path: Path
) -> None:
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("the board throttled",))
    status, out, err = edgekd("gate", run, "--rules", rules(tmp_path, SPEED))
    assert status == 3
    assert "the board throttled" in out
    assert "measure again on a quiet machine: onnx-int8\n" in err
    assert err.endswith(f"edgekd run RECIPE --out {run} --resume --confirm\n")


def test_a_run_without_a_manifest_is_judged_and_called_unfinished(
    edgekd: Command, run: Path
) -> None:
    builders.conclude(run)
    assert "has no manifest.json" in edgekd("gate", run)[2]
    builders.seal(run)
    assert "manifest" not in edgekd("gate", run)[2]


def test_a_folder_that_is_no_run_is_called_so(edgekd: Command, tmp_path: Path) -> None:
    status, _, err = edgekd("gate", tmp_path)
    assert status == 2
    assert "is not a run's folder" in err


def test_json_has_every_rule_with_its_numbers(edgekd: Command, run: Path, tmp_path: Path) -> None:
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    size = records.read(Artifact, path).bytes
    asked = rules(tmp_path, 'size_mib = { limit = 1, artifacts = ["onnx-int8"] }\n' + DROP)
    status, out, _ = edgekd("gate", run, "--rules", asked, "--json")
    assert status == 0
    drop, mib = json.loads(out)["findings"]
    assert mib["measured"]["value"] == size / 2**20
    assert drop["p_value"] > 0.5


def test_doubts_about_the_measurement_are_printed_once(
    run: Path, edgekd: Command, tmp_path: Path
) -> None:
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("other programs took 40 %",))
    written = rules(tmp_path, f"{SPEED}\nlatency_p50_ms = {{ limit = 1000 }}")
    status, out, _ = edgekd("gate", run, "--rules", written)
    assert status == 3
    assert out.count("other programs took 40 %") == 1
    as_json = json.loads(edgekd("gate", run, "--rules", written, "--json")[1])
    assert all(found["doubts"] == ["other programs took 40 %"] for found in as_json["findings"])
