"""What the latency section tells beside medians."""

from dataclasses import replace

from edgekd.core.records import Interval
from edgekd.core.run_folder import Run
from edgekd.report.blocks import Folded, Note, Table
from edgekd.report.sections import latency


def further(run: Run, **changes: object) -> tuple[Table, list[str]]:
    """Return the table of tails and throughput, and the sentences below it."""
    assert run.measurement is not None
    some = Interval(value=1234.0, low=1200.0, high=1300.0, confidence=0.95)
    timings = [each.model_copy(update={"images_per_s": some}) for each in run.measurement.timings]
    measured = run.measurement.model_copy(update={"timings": tuple(timings), **changes})
    section = latency.section(replace(run, measurement=measured))
    folded = next(b for b in section.blocks if isinstance(b, Folded) and "Tails" in b.summary)
    table, *notes = folded.blocks
    assert isinstance(table, Table)
    return table, [note.text for note in notes if isinstance(note, Note)]


def test_throughput_is_shown_and_a_missing_tail_says_why(run: Run) -> None:
    table, _ = further(run)
    name, p95, p999, rate, gpu = (cell.text for cell in table.rows[0])
    assert name == "teacher-onnx-fp32"
    assert (p95, p999, gpu) == ("too few runs", "too few runs", "")
    assert rate == "1234"


def test_the_state_of_the_machine_is_told(run: Run) -> None:
    noise = Interval(value=1.01, low=0.99, high=1.03, confidence=0.95)
    _, (state,) = further(run, clocks_locked=False, noise_ratio=noise)
    assert state.startswith("Clocks not locked. The first against itself (A/A): 1.01 [0.99")


def test_a_machine_that_tells_nothing_gets_no_sentence(run: Run) -> None:
    _, notes = further(run)
    assert notes == []
