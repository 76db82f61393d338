"""Temperature, clock and power over time, on the page and in the terminal."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekd.cli import console
from edgekd.core.run_folder import Run
from edgekd.core.series import Series, Turn
from edgekd.report import html, over_time, terminal
from tests.report.conftest import judged
from tests.report.reading import Node, read
from tests.report.test_energy import used

TURNS = (
    Turn(subject="teacher-onnx-fp32", start_s=0, end_s=1),
    Turn(subject="onnx-fp32", start_s=1, end_s=2.5),
    Turn(subject=None, start_s=2.5, end_s=4),
)
BOARD = Series(
    times_s=(0, 1, 2, 3, 4),
    temperatures_c={
        "cpu-thermal": (40, 41, 42, 42, 41),
        "tj-thermal": (41.5, 47, None, 58, 57),
    },
    gpu_mhz=(918, 918, 1020, 918, 918),
    cpu_mhz=(1510,) * 5,
    power_w=(5.1, 8, 9.8, 9, 6),
    source="ina3221",
    rails=("VDD_IN",),
    turns=TURNS,
)
NOTHING = Series(times_s=(0, 1), no_power="this machine has no power sensor", turns=TURNS)


@pytest.fixture
def own(tmp_path: Path) -> Run:
    return judged(tmp_path / "1")


def measured(run: Run, **changes: Any) -> Run:
    assert run.measurement is not None
    return replace(run, measurement=run.measurement.model_copy(update=changes))


def section(run: Run) -> Node:
    page = read(html.html(run))
    return next(node for node in page.all("section") if node.attributes.get("id") == "energy")


def drawing(node: Node, name: str) -> Node:
    return next(n for n in node.all("svg") if f"{name}-760" in n.attributes["aria-labelledby"])


@pytest.mark.parametrize(
    ("name", "label", "told"),
    [
        ("temperature", "temperature (°C)", "tj-thermal: 41.5 to 58.0 °C over 4 s"),
        ("clock", "clock (MHz)", "GPU: 918 to 1020 MHz over 4 s"),
        ("power", "power (W)", "VDD_IN: 5.10 to 9.80 W over 4 s"),
    ],
)
def test_each_quantity_has_a_figure_with_units_and_what_ran(
    own: Run, name: str, label: str, told: str
) -> None:
    drawn = drawing(section(measured(own, series=BOARD)), f"{name}-latency")
    assert drawn.one("desc").text == told
    assert [node.text for node in drawn.all("text", "label")] == [label, "time (s)"]
    assert [node.one("title").text for node in drawn.all("rect", "bin")] == [
        "teacher-onnx-fp32: 0.0 to 1.0 s", "onnx-fp32: 1.0 to 2.5 s", "idle: 2.5 to 4.0 s",
    ]  # fmt: skip


def test_a_reading_that_failed_is_left_out_of_the_line(own: Run) -> None:
    drawn = drawing(section(measured(own, series=BOARD)), "temperature-latency")
    assert drawn.one("path", "curve").attributes["d"].count("L") == 3  # four of five readings


def test_a_table_has_every_sensor(own: Run) -> None:
    rows = section(measured(own, series=BOARD)).one("tbody").all("tr")
    assert [[cell.text for cell in row.children] for row in rows] == [
        ["tj-thermal, temperature (°C)", "41.5", "41.5", "58.0", "57.0"],
        ["cpu-thermal, temperature (°C)", "40.0", "40.0", "42.0", "41.0"],
        ["GPU, clock (MHz)", "918", "918", "1020", "918"],
        ["fastest core, clock (MHz)", "1510", "1510", "1510", "1510"],
        ["VDD_IN, power (W)", "5.10", "5.10", "9.80", "6.00"],
    ]


def test_what_a_device_does_not_tell_is_said_with_the_reason(own: Run) -> None:
    shown = section(measured(own, series=NOTHING))
    assert "There is no temperature over time: the device has no thermal zone" in shown.text
    assert "There is no power over time: this machine has no power sensor." in shown.text
    assert not shown.all("svg")


def test_a_single_reading_is_no_line_but_stands_in_the_table(own: Run) -> None:
    short = Series(times_s=(0,), temperatures_c={"tj": (50,)})
    shown = section(measured(own, series=short))
    assert not shown.all("svg")
    assert "tj, temperature (°C)" in shown.text


def test_the_hottest_zone_is_named_under_its_figure(own: Run) -> None:
    shown = section(measured(own, series=BOARD, temperatures_c=(41.5, 57.0)))
    assert "tj-thermal, the hottest zone: 41.5 to 58.0 °C. The bands" in shown.text
    assert "The hottest part had" not in shown.text  # which is all that older records tell


def test_the_series_of_the_energy_has_figures_of_its_own(own: Run) -> None:
    warm = measured(own, series=BOARD)
    shown = section(used(warm, series=BOARD.model_copy(update={"power_w": ()})))
    names = {image.attributes["aria-labelledby"].partition("-760")[0] for image in shown.all("svg")}
    assert {"power", "temperature-energy", "clock-energy", "temperature-latency"} <= names
    assert "power-energy" not in names  # the readings of the energy are drawn instead


def test_nothing_is_folded_where_no_sensor_spoke_while_energy_was_measured(own: Run) -> None:
    shown = section(used(own, series=NOTHING.model_copy(update={"no_power": None})))
    assert not shown.all("details")


def test_an_older_record_has_no_figures(own: Run) -> None:
    page = read(html.html(own))
    assert not [n for n in page.all("section") if n.attributes.get("id") == "energy"]


def test_the_terminal_tells_it_in_a_line(own: Run) -> None:
    expected = (
        "temperature 41.5 to 58.0 C (tj-thermal), clock 918 to 1020 MHz (GPU), "
        "power 5.10 to 9.80 W (VDD_IN)"
    )
    assert over_time.line(BOARD) == expected
    assert over_time.line(NOTHING) == ""
    stream = io.StringIO()
    terminal.render(measured(own, series=BOARD), Console(file=stream, width=200))
    assert f"Meanwhile {expected}." in stream.getvalue()


def test_the_command_line_tells_it_in_a_line(own: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for series, told in ((BOARD, True), (NOTHING, False)):
        record = measured(own, series=series).measurement
        assert record is not None
        console.measurement(record)
        shown = capsys.readouterr().out
        assert ("meanwhile temperature 41.5 to 58.0 C (tj-thermal), clock" in shown) is told


def test_a_range_that_is_one_value_is_told_once() -> None:
    (heat,) = over_time.sensors(Series(times_s=(0, 1), temperatures_c={"tj": (50.01, 50.02)}))
    assert heat.range == "50.0 °C"
