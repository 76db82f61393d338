"""How wide the tables are."""

import pytest

from edgekd.cli import console


def test_tables_in_a_file_are_wider_than_the_narrowest_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console.page().width == 100


def test_the_environment_says_how_wide_tables_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert console.page().width == 60
