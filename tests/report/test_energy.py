"""Energy and temperature on the page."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edgekd.core import files
from edgekd.core.records import Consumption, Energy, Interval
from edgekd.core.run_folder import Run
from edgekd.report import compare, html, terminal
from tests.report.conftest import judged
from tests.report.reading import Node, read


def interval(value: float, spread: float = 0.1) -> Interval:
    return Interval(
        value=value, low=value * (1 - spread), high=value * (1 + spread), confidence=0.95
    )


def used(run: Run, *, source: str = "ina3221", **changes: object) -> Run:
    """Give a run energies, and readings of two rails: 2 W and 1 W idle, 5 W and 1 W at work."""
    times_ns = np.arange(9, dtype=np.int64) * 10**9 + 5 * 10**9
    watts = np.array([2, 2, 5, 5, 5, 5, 5, 2, 2], dtype=float)
    values = np.stack([1000 * watts, np.full(9, 1000.0)], axis=1)
    if source == "rapl":
        values = np.stack([1e6 * np.concatenate([[0.0], watts[:-1].cumsum()])] * 2, axis=1)
    path = run.folder / "profile" / "readings.npz"
    path.parent.mkdir(exist_ok=True)
    rows = [[-1, 0, 5, 7], [0, 10, 7, 8], [1, 10, 8, 9], [2, 10, 9, 12], [-1, 0, 12, 13]]
    stretches = np.array(rows, dtype=np.int64)
    stretches[:, 2:] *= 10**9
    np.savez(path, rails=np.array(["GPU", "CPU"]), times_ns=times_ns, values=values,
             stretches=stretches)  # fmt: skip
    energy = Energy(
        source=source, rails=("GPU", "CPU"), scope="sum of rails", interval_ms=1000.0,
        idle_mw=(3000.0, 3000.0), blocks=10, fewest_readings=3, readings_file=path.name,
        readings_sha256=files.sha256_of(path),
    )  # fmt: skip
    assert run.measurement is not None
    timings = tuple(
        timing.model_copy(
            update={
                "energy": Consumption(
                    per_image_mj=interval(8.0 / (1 + place)),
                    gross_per_image_mj=12.0,
                    power_mw=6000.0,
                    ratio_to_first=interval(1 / (1 + place), 0.01) if place else None,
                    images=1000,
                )
            }
        )
        for place, timing in enumerate(run.measurement.timings)
    )
    measured = run.measurement.model_copy(
        update={
            "timings": timings,
            "energy": energy.model_copy(update=changes),
            "temperatures_c": (41.5, 52.0),
        }
    )
    return replace(run, measurement=measured)


@pytest.fixture
def own(tmp_path: Path) -> Run:
    return judged(tmp_path / "1")


def section(run: Run, name: str = "energy") -> Node:
    page = read(html.html(run))
    return next(node for node in page.all("section") if node.attributes.get("id") == name)


def charts(node: Node) -> list[str]:
    return [image.attributes["aria-labelledby"].partition("-title")[0] for image in node.all("svg")]


def test_energies_are_those_of_the_records(own: Run) -> None:
    rows = section(used(own)).one("tbody").all("tr")
    assert [cell.text for cell in rows[1].children] == [
        "onnx-fp32", "4.00 [3.60, 4.40]", "0.50 [0.49, 0.51]", "12.0", "6.00", "1,000",
    ]  # fmt: skip
    caption = section(used(own)).one("caption").text
    assert "Of the sum of rails (GPU, CPU) by ina3221, a reading every 1000 ms" in caption
    assert "idle 3 and 3 W before and after" in caption


def test_accuracy_is_set_against_energy_too(own: Run) -> None:
    names = charts(section(used(own), "tradeoff"))
    assert {"tradeoff-760", "tradeoff-energy-760"} <= set(names)


def test_the_cards_tell_the_ratio_of_energies(own: Run) -> None:
    card = read(html.html(used(own))).all("li", "card")[0]
    values = dict(zip([n.text for n in card.all("dt")], card.all("dd"), strict=True))
    assert values["energy"].text == "0.50x [0.49, 0.51]"


@pytest.mark.parametrize("source", ["ina3221", "rapl"])
def test_power_over_time_is_the_sum_of_the_rails(own: Run, source: str) -> None:
    shown = section(used(own, source=source))
    drawing = next(n for n in shown.all("svg") if "power-760" in n.attributes["aria-labelledby"])
    most = {"ina3221": 6, "rapl": 10}[source]  # a counter's rails are alike here
    least = {"ina3221": 3, "rapl": 4}[source]
    assert f"between {least} and {most} W over 8 s" in drawing.one("desc").text
    bands = [node.one("title").text for node in drawing.all("rect", "bin")]
    assert bands[:3] == [
        "idle: 0.0 to 2.0 s", "teacher-onnx-fp32: 2.0 to 3.0 s", "onnx-fp32: 3.0 to 4.0 s",
    ]  # fmt: skip
    labels = [node.text for node in drawing.all("text", "label")]
    assert labels == ["power (W)", "time (s)"]


def test_temperatures_are_told_without_energy(own: Run) -> None:
    warm = used(own)
    assert warm.measurement is not None
    bare = warm.measurement.model_copy(update={"energy": None})
    assert section(replace(warm, measurement=bare)).text.endswith(
        "The hottest part had 41.5 °C before and 52.0 °C after."
    )


def test_the_terminal_shows_energies_below_latencies(own: Run) -> None:
    stream = io.StringIO()
    terminal.render(used(own), Console(file=stream, width=80))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "Energy of the sum of rails by ina3221, above idle" in lines
    assert "onnx-int8 2.67 [2.40, 2.93] 0.33 [0.33, 0.34] 6.00" in lines
    stream = io.StringIO()
    terminal.render(used(own, missing="no sensor answers"), Console(file=stream, width=80))
    assert "no energy: no sensor answers" in stream.getvalue()


def test_runs_are_compared_by_energy_too(own: Run, tmp_path: Path) -> None:
    found = compare.compare([used(own), judged(tmp_path / "2")])
    assert [one.energy_mj and round(one.energy_mj.value, 2) for one in found.entries] == [
        8.0, 4.0, 2.67, None, None, None,
    ]  # fmt: skip


def test_a_missing_energy_is_said_with_its_reason(own: Run) -> None:
    assert (
        "There is no energy: no sensor answers."
        in section(used(own, missing="no sensor answers")).text
    )


def test_a_run_without_energy_and_temperature_has_no_such_section(own: Run) -> None:
    page = read(html.html(own))
    assert not [n for n in page.all("section") if n.attributes.get("id") == "energy"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"times_ns": np.array([5, 4])}, "does not hold readings"),
        (
            {"rails": np.array(["A"]), "times_ns": np.array([5, 4]), "values": np.ones((2, 1)),
             "stretches": np.zeros((0, 4), int)},
            "rising times",
        ),
        (
            {"rails": np.array(["A"]), "times_ns": np.array([4, 5]), "values": np.ones((2, 1)),
             "stretches": np.array([[3, 1, 4, 5]])},
            "a model that was not measured",
        ),
    ],
)  # fmt: skip
def test_readings_that_make_no_sense_are_named(
    own: Run, content: dict[str, np.ndarray], what: str
) -> None:
    path = own.folder / "profile" / "readings.npz"
    damaged = used(own, rails=("A",))
    np.savez(path, **content)  # type: ignore[arg-type]
    assert damaged.measurement is not None
    assert damaged.measurement.energy is not None
    energy = damaged.measurement.energy.model_copy(
        update={"readings_sha256": files.sha256_of(path)}
    )
    measured = damaged.measurement.model_copy(update={"energy": energy})
    text = section(replace(damaged, measurement=measured)).text
    assert "Power over time cannot be shown" in text
    assert what in text
