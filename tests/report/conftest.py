"""A run that is judged, and its page: read once, for no test changes them."""

from pathlib import Path

import pytest

from edgekd.core import run_folder
from edgekd.core.run_folder import Run
from edgekd.report import html
from tests import builders
from tests.report.reading import Node, read

GATE = {
    "top1_drop_pp": {"margin": 1.0},
    "latency_ratio": {"limit": 0.45},
    "size_ratio": {"limit": 0.5, "informative": True},
}


def judged(folder: Path, **arguments: object) -> Run:
    """Make a run with ladder and verdict."""
    builders.make_run(folder, **{"gate": GATE, **arguments})
    return run_folder.read(builders.conclude(folder))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return judged(tmp_path_factory.mktemp("runs") / "1")


@pytest.fixture(scope="session")
def text(run: Run) -> str:
    return html.html(run)


@pytest.fixture(scope="session")
def page(text: str) -> Node:
    return read(text)
