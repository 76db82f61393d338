import gc
import itertools
import threading

import pytest

from edgekd.agent import timing


def test_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle() -> None:
    assert timing.median([4, 1, 3, 100]) == 3.5


def test_median_of_an_odd_number_is_the_one_in_the_middle() -> None:
    assert timing.median([9, 1, 5]) == 5


def test_each_call_gives_one_sample_longer_than_nothing() -> None:
    calls = []
    samples = timing.timed(lambda: calls.append(1), 7)
    assert len(samples) == len(calls) == 7
    assert min(samples) > 0


def test_garbage_collection_is_off_while_timing_and_on_afterwards() -> None:
    states = []
    timing.timed(lambda: states.append(gc.isenabled()), 1)
    assert states == [False]
    assert gc.isenabled()


def test_garbage_collection_is_on_again_after_a_run_that_fails() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timing.timed(fail, 1)
    assert gc.isenabled()


def test_lanes_run_at_once() -> None:
    meet = threading.Barrier(3, timeout=60)  # breaks unless all three are inside a call
    samples, wall_ns = timing.together([meet.wait] * 3, 4)
    assert len(samples) == 12
    assert max(samples) <= wall_ns
    assert gc.isenabled()


def test_no_lane_begins_before_all_have_a_thread() -> None:
    threads = []
    timing.together([lambda: threads.append(threading.get_ident())] * 20, 1)
    assert len(set(threads)) == 20


def test_one_lane_needs_no_thread() -> None:
    threads = []
    samples, wall_ns = timing.together([lambda: threads.append(threading.get_ident())], 2)
    assert set(threads) == {threading.get_ident()}
    assert sum(samples) <= wall_ns


def test_a_lane_that_fails_is_heard_of() -> None:
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        timing.together([fail, lambda: None], 1)


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([100.0, 101.0], False),  # too few
        ([100.0, 101.0, 103.0], True),  # the limit, 3 %
        ([100.0, 101.0, 103.1], False),
        ([500.0, 100.0, 100.0, 100.0], True),  # only the last three count
    ],
)
def test_steady_means_that_the_last_three_windows_agree(
    medians: list[float], *, steady: bool
) -> None:
    assert timing.is_steady(medians) is steady


def test_warm_up_ends_when_the_medians_stop_falling(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = iter([900, 700, 500, 400, 400, 400, 400])
    monkeypatch.setattr(timing, "timed", lambda _run, runs: [next(windows)] * runs)
    found = timing.warm_up(lambda: None, 0.0, 60.0)
    assert found["steady"] is True
    assert found["runs"] == 60  # six windows of ten: the last three are equal


def test_a_window_of_a_quick_model_lasts_for_a_tenth_of_the_least_warm_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]

    def timed(_run: object, runs: int) -> list[int]:
        clock[0] += 1.0
        return [400] * runs

    monkeypatch.setattr(timing, "timed", timed)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    # Windows of 5 s, 50 runs each; three agree after 15 s, so 10 s are too few.
    assert timing.warm_up(lambda: None, 50.0, 99.0) == {
        "runs": 500,
        "seconds": 50.0,
        "steady": True,
    }
    assert timing.warm_up(lambda: None, 50.0, 10.0)["steady"] is False


def test_warm_up_gives_up_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = itertools.cycle([100, 110])  # 10 % apart for ever
    monkeypatch.setattr(timing, "timed", lambda _run, runs: [next(windows)] * runs)
    assert timing.warm_up(lambda: None, 0.0, 0.01)["steady"] is False


def test_warm_up_lasts_at_least_as_long_as_asked() -> None:
    assert timing.warm_up(lambda: None, 0.05, 1.0)["seconds"] >= 0.05


def test_a_turn_starts_with_at_least_two_calls_however_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "_SETTLE_S", 0.0)
    calls = []
    timing.settle(lambda: calls.append(1))
    assert len(calls) == 2


def test_a_process_that_never_sleeps_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10**9))
    monkeypatch.setattr(timing.time, "process_time", lambda: next(clock))  # always busy
    monkeypatch.setattr(timing, "_REST_LIMIT_S", 0.02)
    timing.rest()
    assert next(clock) > 1  # it has looked more than once
