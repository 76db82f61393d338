"""What is held against a measurement: told in one place, to which every finding points."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from edgekd.core import run_folder
from edgekd.core.records import Energy, Measurement
from edgekd.core.run_folder import Run
from edgekd.report import facts, html, terminal
from tests import builders
from tests.report.reading import read

NOISE = "blocks vary by 14 %"
GATE = {
    "top1_drop_pp": {"margin": 2.0},
    "latency_ratio": {"limit": 0.45},
    "latency_p50_ms": {"limit": 5.0},
}


@pytest.fixture
def noisy(tmp_path: Path) -> Run:
    folder = builders.make_run(tmp_path / "1", gate=GATE)
    path = run_folder.measurement(folder) / "measurement.json"
    builders.change(Measurement, path, warnings=(NOISE,))
    return run_folder.read(builders.conclude(folder))


def test_the_page_tells_a_doubt_once_and_every_reason_leads_there(noisy: Run) -> None:
    text = html.html(noisy)
    assert text.count(NOISE) == 1
    page = read(text)
    assert [node.text for node in page.one("aside").all("li")] == [f"latency: {NOISE}"]
    verdict = next(node for node in page.all("section") if node.attributes["id"] == "verdict")
    links = verdict.all("a")
    assert len(links) == 4  # two rules for two files
    assert {link.attributes["href"] for link in links} == {"#doubts"}
    assert page.one("aside").attributes["id"] == "doubts"


def test_a_reason_with_a_measurement_that_is_believed_leads_nowhere(tmp_path: Path) -> None:
    builders.make_run(tmp_path / "1", gate={"latency_ratio": {"limit": 0.1}})
    page = read(html.html(run_folder.read(builders.conclude(tmp_path / "1"))))
    verdict = next(node for node in page.all("section") if node.attributes["id"] == "verdict")
    assert verdict.all("li")
    assert not verdict.all("a")


def test_the_terminal_tells_a_doubt_once(noisy: Run) -> None:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as shown:
        terminal.render(noisy, console)
    text = shown.get()
    assert text.count(NOISE) == 1
    assert text.count("): its measurement is in doubt") == 4


def test_doubts_about_the_energy_are_told_beside_those_about_latency(noisy: Run) -> None:
    assert noisy.measurement is not None
    energy = Energy(doubts=("the idle power moved",))
    measured = noisy.measurement.model_copy(update={"energy": energy})
    assert facts.doubts(replace(noisy, measurement=measured, verdict=None)) == [
        f"latency: {NOISE}",
        "energy: the idle power moved",
    ]


def test_what_only_the_verdict_knows_of_its_measurement_is_told_too(noisy: Run) -> None:
    found = facts.doubts(replace(noisy, measurement=None))
    assert f"the verdict's measurement: {NOISE}" in found
