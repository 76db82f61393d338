"""What is printed of measurements, and how wide the tables are."""

from pathlib import Path

import pytest

from edgekd.cli import console
from edgekd.core.measured import Build
from edgekd.core.records import Interval
from tests import builders


def test_tables_in_a_file_are_wider_than_the_narrowest_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console.page().width == 100


def test_the_environment_says_how_wide_tables_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert console.page().width == 60


def build(p50_ms: float) -> Build:
    p50 = Interval(value=p50_ms, low=p50_ms, high=p50_ms, confidence=0.95)
    return Build(plan_sha256="0" * 64, plan_bytes=1, p50_ms=p50)


def test_of_several_engines_it_is_said_which_one_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = builders.read_run(tmp_path).measurement
    assert record is not None
    first, second, *_ = record.timings
    engines = build(first.p50_ms.value), build(9.0)
    quickest = first.model_copy(update={"builds": engines})
    slowest = second.model_copy(update={"builds": engines, "p50_ms": build(9.0).p50_ms})
    alone = second.model_copy(update={"builds": (build(second.p50_ms.value),)})
    console.measurement(record.model_copy(update={"timings": (quickest, slowest, alone)}))
    shown = capsys.readouterr().out
    assert f"the quickest of 2 builds ({first.p50_ms.value:.4g}, 9 ms)" in shown
    assert f"the slowest of 2 builds ({first.p50_ms.value:.4g}, 9 ms)" in shown
    assert shown.count("builds") == 2
