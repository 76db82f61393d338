import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from edgekd.core import run_folder
from edgekd.core.run_folder import Run
from edgekd.report import terminal
from tests import builders

WHOLE = """\
Stage ladder on 1000 test images
stage                    top-1 % [95 %]        drop pp [95 %]  M MACs    MiB
────────────────────────────────────────────────────────────────────────────
teacher            95.00 [93.47, 96.19]                     -    1.00  0.000
teacher-onnx-fp32  95.00 [93.47, 96.19]    0.00 [-0.38, 0.38]    1.00  3.242
pruned             25.00 [22.42, 27.78]  70.00 [67.09, 72.76]    0.33  0.000
recalibrated       75.50 [72.74, 78.06]  19.50 [17.07, 22.14]    0.33  0.000
classifier         89.60 [87.55, 91.34]     5.40 [3.95, 7.10]    0.33  0.000
deep               94.80 [93.24, 96.01]    0.20 [-0.60, 1.04]    0.33  0.000
onnx-fp32          94.80 [93.24, 96.01]    0.20 [-0.60, 1.04]    0.33  0.381
onnx-int8          94.50 [92.91, 95.75]    0.50 [-0.34, 1.43]    0.33  0.105
The stages won back 99 % of what pruning cost (R = 0.99).

Latency on host-cpu, batch 1, threads 1, 300 runs each
artifact                  p50 ms [95 %]    p90    p99          x teacher   MACs
───────────────────────────────────────────────────────────────────────────────
teacher-onnx-fp32  0.998 [0.996, 1.002]   1.03   1.05                  -  100 %
onnx-fp32          0.499 [0.498, 0.500]  0.509  0.521  0.50 [0.50, 0.50]   33 %
onnx-int8          0.399 [0.398, 0.401]  0.409  0.419  0.40 [0.40, 0.40]   33 %
'onnx-fp32': 33 % of the MACs, and latency is 0.500x [0.498, 0.502] the
teacher's: faster on host-cpu, though by less than the MACs promise.
'onnx-int8': 33 % of the MACs, and latency is 0.400x [0.399, 0.402] the
teacher's: faster on host-cpu, though by less than the MACs promise.

PASSED       top-1 drop 0.2 pp [..0.9], margin 1.0 pp (95.0 % -> 94.8 %,
             onnx-fp32)
INCONCLUSIVE top-1 drop 0.5 pp [-0.2..1.3], margin 1.0 pp (95.0 % -> 94.5 %,
             onnx-int8): 1,000 images do not decide, about 4,200 would
FAILED       latency 0.50 times the teacher's [0.50..], limit 0.45 (0.998 ms ->
             0.499 ms, onnx-fp32)
PASSED       latency 0.40 times the teacher's [..0.40], limit 0.45 (0.998 ms ->
             0.399 ms, onnx-int8)
PASSED       size 0.12 times the teacher's, limit 0.50 (3.24 MiB -> 0.381 MiB,
             onnx-fp32) (informative)
PASSED       size 0.03 times the teacher's, limit 0.50 (3.24 MiB -> 0.105 MiB,
             onnx-int8) (informative)
verdict: failed (1 failed, 1 inconclusive and 2 passed)
"""


def shown(run: Run, width: int = 80, **arguments: object) -> str:
    stream = io.StringIO()
    terminal.render(run, Console(file=stream, width=width, **arguments))
    return stream.getvalue()


def lines(text: str) -> str:
    """Return a text without the spaces that fill its lines."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_a_run_is_shown_exactly_so(run: Run) -> None:
    assert lines(shown(run)) == WHOLE


@pytest.mark.parametrize("width", [80, 60, 40])
def test_nothing_is_wider_than_the_terminal_and_no_number_is_cut(run: Run, width: int) -> None:
    text = shown(run, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_rows_become_lists_where_a_table_would_not_fit(run: Run) -> None:
    said = shown(run, width=60).splitlines()
    start = said.index("teacher-onnx-fp32")
    assert said[start : start + 5] == [
        "teacher-onnx-fp32",
        "  top-1 % [95 %]: 95.00 [93.47, 96.19]",
        "  drop pp [95 %]: 0.00 [-0.38, 0.38]",
        "  M MACs: 1.00",
        "  MiB: 3.242",
    ]


def test_a_pipe_gets_plain_text(run: Run) -> None:
    assert "\x1b" not in shown(run)


def test_no_color_is_obeyed_on_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[1;31m" in shown(run, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(run, force_terminal=True, color_system="standard")
    assert not [code for code in range(30, 38) if f";{code}m" in text or f"[{code}m" in text]


def test_brackets_in_names_are_not_taken_for_markup(run: Run) -> None:
    assert run.ladder is not None
    rungs = (run.ladder.rungs[0].model_copy(update={"name": "[red]x[/red]"}),)
    named = replace(run, ladder=run.ladder.model_copy(update={"rungs": rungs}))
    assert "[red]x[/red]" in shown(named)


def test_the_control_arm_stands_below_the_ladder_with_what_distilling_is_worth(
    tmp_path: Path,
) -> None:
    builders.make_run(tmp_path / "1", control={"control": builders.Step(lost=40, gained=6)})
    text = shown(run_folder.read(builders.conclude(tmp_path / "1")), width=200)
    assert "control            91.60 [89.72, 93.16]     3.40 [2.18, 4.86]    0.33" in text
    assert "Distilling is worth +3.20 pp [2.28, 4.48] of top-1, 'deep' against" in text
    assert "after 4.5 s; the labels alone took 4.5 s to get there, their best: as long." in text


def test_the_blamed_step_is_named_below_the_ladder(tmp_path: Path) -> None:
    artifacts = {"onnx-int8": builders.Step(lost=60, gained=6)}
    builders.make_run(tmp_path / "1", artifacts=artifacts)
    run = run_folder.read(builders.conclude(tmp_path / "1"))
    assert "The step to 'onnx-int8' costs 5.20 pp against 'deep'" in shown(run, width=200)


def test_warnings_stand_between_the_tables_and_the_verdict(run: Run) -> None:
    assert run.measurement is not None
    warm = run.measurement.model_copy(update={"warnings": ("it was too warm",)})
    text = shown(replace(run, measurement=warm))
    assert text.index("MACs promise") < text.index("warning: latency: it was too warm")
    assert text.index("warning: latency: it was too warm") < text.index("FAILED")


def test_what_is_missing_is_said(run: Run) -> None:
    bare = replace(run, ladder=None, measurement=None, verdict=None)
    assert lines(shown(bare)) == (
        "no stage ladder: the run's steps were not evaluated yet\n"
        "\n"
        "no latency: the run's artifacts were not measured yet\n"
        "\n"
        "verdict: none, for the run was not judged yet\n"
    )


def test_too_few_samples_for_p99_leave_a_dash(run: Run) -> None:
    assert run.measurement is not None
    timings = tuple(t.model_copy(update={"p99_ms": None}) for t in run.measurement.timings)
    fewer = run.measurement.model_copy(update={"timings": timings})
    row = next(
        line
        for line in shown(replace(run, measurement=fewer, ladder=None)).splitlines()
        if line.startswith("onnx-int8")
    )
    assert row.split()[:6] == ["onnx-int8", "0.399", "[0.398,", "0.401]", "0.409", "-"]
