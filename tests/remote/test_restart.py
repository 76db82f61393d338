"""What is said of a board that was lost at work; tests/remote/test_reboots.py asks real ones."""

from collections.abc import Iterator

import pytest

from edgekd.core.errors import DeviceError
from edgekd.remote import restart
from edgekd.remote.errand import AbsentError, LostError


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves."""
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(restart.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(restart.time, "sleep", sleep)
    return now


def told(before: str | None, *answers: str | DeviceError | None) -> str:
    said: Iterator[str | DeviceError | None] = iter(answers)

    def ask() -> str | None:
        answer = next(said)
        if isinstance(answer, DeviceError):
            raise answer
        return answer

    return restart.told(before, ask, "'line-3'", 5.0)


def test_another_boot_id_is_a_restart() -> None:
    assert told("a", "b").startswith("it has restarted meanwhile: look at its power supply")


def test_the_same_boot_id_is_none() -> None:
    assert told("a", "a") == "it has not restarted: look at the network"


@pytest.mark.parametrize(("before", "now"), [(None, "b"), ("a", None), (None, None)])
def test_without_boot_ids_nothing_is_claimed(before: str | None, now: str | None) -> None:
    assert "does not say whether it has restarted" in told(before, now)


def test_a_board_that_is_starting_is_waited_for(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    assert "it has restarted" in told("a", AbsentError("refused"), LostError("slow"), "b")
    assert clock == [104.0]
    assert caplog.messages == ["'line-3' is lost: waiting up to 5 s for its answer."]


def test_a_board_that_stays_away_is_not_waited_for_longer(clock: list[float]) -> None:
    away = [AbsentError("refused")] * 4  # after 0, 2, 4 and 5 s
    assert told("a", *away) == "it has not answered for 5 s since: is it switched on?"
    assert clock == [105.0]


def test_a_board_that_cannot_be_reached_any_more_says_why(clock: list[float]) -> None:
    assert told("a", DeviceError("another key")) == "it cannot be asked why: another key"
    assert clock == [100.0]
