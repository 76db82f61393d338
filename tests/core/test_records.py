import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgekd.core import files, records, run_folder
from edgekd.core.errors import RecordError
from tests import builders


def verdict(**changes: Any) -> records.Verdict:
    made = records.Provenance(
        made_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        command=("edgekd", "gate"),
        versions={"edgekd": "0.1"},
        machine="Tiny, 1 cores, Linux",
    )
    finding = records.Finding(
        rule="top1_drop_pp",
        artifact="onnx-int8",
        measured=records.Interval(value=0.5, low=-0.1, high=1.1, confidence=0.9),
        limit=1.0,
        unit="pp",
        state="inconclusive",
        informative=False,
        message="0.5 pp",
    )
    return records.Verdict(provenance=made, findings=(finding,), state="inconclusive", **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A verdict on disk."""
    records.write(verdict(parents=("a" * 64,)), tmp_path / "verdict.json")
    return tmp_path / "verdict.json"


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_record_reads_back_as_it_was_written(path: Path) -> None:
    assert records.read(records.Verdict, path) == verdict(parents=("a" * 64,))


def test_a_number_in_quotes_is_none(path: Path) -> None:
    path.write_text(path.read_text().replace('"limit": 1.0', '"limit": "1.0"'))
    with pytest.raises(RecordError, match=r"findings\.0\.limit: Input should be a valid number"):
        records.read(records.Verdict, path)


def test_a_record_is_json_for_people_that_ends_its_last_line(path: Path) -> None:
    text = path.read_text()
    assert text.endswith("}\n")
    assert '\n  "schema_version": 1,\n' in text


def test_the_same_record_is_written_with_the_same_bytes(path: Path) -> None:
    first = path.read_bytes()
    records.write(records.read(records.Verdict, path), path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "ends",
    [
        {"value": 2.0, "low": 0.0, "high": 1.0},
        {"value": 0.0, "low": 1.0, "high": 2.0},
        {"value": 1.0, "low": 2.0, "high": 0.0},
    ],
)
def test_a_value_outside_its_interval_is_refused(ends: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="does not lie in its interval"):
        records.Interval(**ends, confidence=0.9)


@pytest.mark.parametrize("confidence", [0.0, -0.9, 1.1])
def test_a_confidence_that_is_no_share_is_refused(confidence: float) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        records.Interval(value=1, low=1, high=1, confidence=confidence)


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("artifacts/onnx-int8/artifact.json", "bytes", 0),
        ("artifacts/onnx-int8/artifact.json", "relative_error", -0.1),
        ("artifacts/onnx-int8/artifact.json", "images", 0),
        ("profile/measurement.json", "low", -1.0),
        ("profile/measurement.json", "low", 1e-320),
        ("profile/measurement.json", "peak_memory_mib", -1.0),
        ("profile/measurement.json", "runs", 0),
    ],
)
def test_what_no_model_can_have_is_refused(
    tmp_path: Path, file: str, name: str, value: float
) -> None:
    run = builders.make_run(tmp_path)
    text = (run / file).read_text()
    spoilt = re.sub(rf'"{name}": [-\d.e]+', f'"{name}": {value}', text, count=1)
    assert spoilt != text
    (run / file).write_text(spoilt)
    with pytest.raises(
        RecordError, match=rf"{file}' is no .*{name if name != 'low' else 'p50_ms'}"
    ):
        run_folder.read(run)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"schema_version": 2}, "schema_version: Input should be 1"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"state": "great"}, "state: Input should be 'passed', 'failed' or 'inconclusive'"),
        ({"findings": [{}]}, "findings.0.rule: Field required"),
        ({"provenance": None}, "provenance: "),
    ],
)
def test_a_record_of_another_form_is_refused_with_the_place(
    path: Path, fields: dict[str, Any], place: str
) -> None:
    change(path, **fields)
    with pytest.raises(
        RecordError, match=rf"verdict\.json' is no Verdict record of schema 1: {place}"
    ):
        records.read(records.Verdict, path)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(path: Path, word: str) -> None:
    path.write_text(path.read_text().replace('"limit": 1.0', f'"limit": {word}'))
    assert word in path.read_text()
    with pytest.raises(RecordError, match=r"findings\.0\.limit: .*finite"):
        records.read(records.Verdict, path)


def test_a_number_that_is_not_finite_is_not_written_either() -> None:
    with pytest.raises(ValidationError, match=r"finite"):
        records.Interval(value=float("nan"), low=0.0, high=1.0, confidence=0.95)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": 1}'])
def test_a_file_that_is_no_record_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"verdict\.json' is no Verdict record"):
        records.read(records.Verdict, path)


def test_a_record_of_another_kind_is_refused(path: Path) -> None:
    with pytest.raises(RecordError, match=r"is no Ladder record"):
        records.read(records.Ladder, path)


def test_a_missing_record_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no Verdict record '.*none\.json'"):
        records.read(records.Verdict, tmp_path / "none.json")
    with pytest.raises(RecordError, match=r"is no Verdict record"):
        records.read(records.Verdict, tmp_path)


def test_a_record_cannot_be_changed(path: Path) -> None:
    found = records.read(records.Verdict, path)
    with pytest.raises(ValidationError, match=r"frozen"):
        found.state = "passed"  # type: ignore[misc]


def test_a_file_that_is_as_recorded_is_let_through(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    records.check_file(file, files.sha256_of(file))


def test_a_file_that_was_changed_by_one_bit_is_told_from_the_recorded_one(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    recorded = files.sha256_of(file)
    file.write_bytes(b"weightr")
    with pytest.raises(
        RecordError, match=rf"was changed after .* recorded is {recorded[:12]}\.\.\."
    ):
        records.check_file(file, recorded)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"is missing, though its record is there"):
        records.check_file(tmp_path / "model.onnx", "0" * 64)
