"""Fixtures that every test may use, and the rule about skips."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
# A rare find of a property test belongs to whoever looks for it, not to an unrelated change in CI.
settings.register_profile("edgekd", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("edgekd")

ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder() -> Iterator[None]:
    """Tests that measure do not wait for those of other workers: the lock of a machine lies there.

    Its path is short, as those of sockets must be.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edgekd-t", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as p,
    ):
        p.setenv("TMPDIR", folder)
        p.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images and trained weights beside the project; see CONTRIBUTING.md."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the data folder beside the project is missing")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """In CI, a skip whose reason is not on the committed list fails the run."""
    if os.environ.get("CI") != "true":
        return
    lines = ALLOWED_SKIPS.read_text().splitlines()
    allowed = [line for line in lines if line and not line.startswith("#")]
    unexpected = [
        f"{report.nodeid}: {_reason(report)}"
        for report in terminalreporter.stats.get("skipped", [])
        if not any(_reason(report).startswith(reason) for reason in allowed)
    ]
    if unexpected:
        terminalreporter.section("skips that are not in tests/allowed_skips.txt")
        for line in unexpected:
            terminalreporter.line(line)
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport) -> str:
    _, _, reason = report.longrepr
    return reason.removeprefix("Skipped: ")
