from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.core.records import Interval
from edgekd.profile import doubts
from edgekd.profile.timings import Taken
from edgekd.remote.lines import Telemetry
from tests.profile.agent import GPU, conditions, moment, series_line, subject, taken

QUIET = np.ones((12, 9))


def one(folder: Path, samples: Any = QUIET, **values: Any) -> Taken:
    return taken([subject(folder, "net")], [samples], **values)


def test_foreign_load_is_busy_time_without_our_own() -> None:
    telemetry = [
        moment(busy_ticks=1000, all_ticks=5000, own_ticks=100),
        moment(busy_ticks=1, all_ticks=1, own_ticks=1),  # what is between does not matter
        moment(busy_ticks=1080, all_ticks=5200, own_ticks=150),
    ]
    assert doubts.foreign_load(telemetry) == pytest.approx((80 - 50) / 200)


def test_foreign_load_is_never_negative() -> None:
    # Ticks of a process and of the machine are not counted at the same moment.
    telemetry = [
        moment(busy_ticks=0, all_ticks=0, own_ticks=0),
        moment(busy_ticks=50, all_ticks=100, own_ticks=52),
    ]
    assert doubts.foreign_load(telemetry) == 0.0


@pytest.mark.parametrize(
    "telemetry",
    [
        [],
        [moment(), moment()],
        [
            moment(busy_ticks=0, all_ticks=0, own_ticks=0),
            moment(busy_ticks=9, all_ticks=19, own_ticks=9),
        ],
    ],
    ids=["no telemetry", "no counters", "too short to tell"],
)
def test_foreign_load_that_cannot_be_known_is_none(telemetry: list[Telemetry]) -> None:
    assert doubts.foreign_load(telemetry) is None


@pytest.mark.parametrize(("ticks", "reason"), [(None, "does not count it"), (19, "more runs")])
def test_a_foreign_load_that_is_not_known_is_a_doubt_with_its_reason(
    tmp_path: Path, ticks: int | None, reason: str
) -> None:
    last = moment(busy_ticks=ticks, all_ticks=ticks, own_ticks=ticks)
    telemetry = [moment(busy_ticks=0, all_ticks=0, own_ticks=0), last]
    (doubt,) = doubts.about(one(tmp_path, telemetry=telemetry))
    assert doubt.startswith("what other programs took of the processor is unknown")
    assert doubt.endswith(reason)


def test_a_quiet_measurement_raises_no_doubt(tmp_path: Path) -> None:
    ticks = [
        moment(busy_ticks=0, all_ticks=0, own_ticks=0),
        moment(busy_ticks=100, all_ticks=400, own_ticks=100),
    ]
    assert doubts.about(one(tmp_path, telemetry=ticks)) == []


@pytest.mark.parametrize(("ratio", "sign"), [(1.04, "+4.0 %"), (0.96, "-4.0 %")])
def test_drift_in_either_direction_is_doubted(tmp_path: Path, ratio: float, sign: str) -> None:
    samples = np.repeat([[1.0]] * 8 + [[ratio]] * 4, 9, axis=1)
    assert any(
        f"'net' drifted by {sign}" in doubt for doubt in doubts.about_models(one(tmp_path, samples))
    )


def test_a_model_that_never_became_steady_is_doubted(tmp_path: Path) -> None:
    (doubt,) = doubts.about_models(one(tmp_path, steady=False))
    assert "not steady after 10 s" in doubt


def test_blocks_that_differ_are_doubted(tmp_path: Path) -> None:
    samples = np.repeat([[1.0], [1.06]] * 6, 9, axis=1)
    (doubt,) = doubts.about_models(one(tmp_path, samples))
    assert "between blocks" in doubt


def test_models_that_ran_differently_are_not_compared(tmp_path: Path) -> None:
    found = taken(
        [subject(tmp_path, "a"), subject(tmp_path, "b")],
        [QUIET, QUIET],
        engines=["trt, as a CUDA graph", "trt, without a CUDA graph"],
    )
    (doubt,) = doubts.about_models(found)
    assert "cannot be compared" in doubt


@pytest.mark.parametrize(("value", "found"), [(1.02, 0), (1.03, 1), (0.97, 1)])
def test_a_model_that_differs_from_itself_is_doubted(value: float, found: int) -> None:
    noise = Interval(value=value, low=value, high=value, confidence=0.95)
    assert len(list(doubts.about_noise(noise))) == found
    assert not list(doubts.about_noise(None))


def test_a_latency_that_does_not_come_back_is_doubted(tmp_path: Path) -> None:
    first = one(tmp_path)
    assert doubts.about_repetition(first, one(tmp_path, 1.029 * QUIET)) == []
    (doubt,) = doubts.about_repetition(first, one(tmp_path, 1.04 * QUIET))
    assert "1.04 ms when measured again (+4.0 %" in doubt


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, None, []),
        (0.10, 0.0, []),
        (0.37, 0.05, ["37 % of the time before"]),
        (0.0, 0.11, ["11 % of the time after"]),
        (0.5, 0.5, ["50 % of the time before", "50 % of the time after"]),
    ],
)
def test_other_programs_on_the_gpu_are_doubted(
    before: float | None, after: float | None, told: list[str]
) -> None:
    found = list(doubts.about_gpu(conditions(gpu_load=before), conditions(gpu_load=after)))
    assert [part for part, doubt in zip(told, found, strict=True) if part not in doubt] == []


@pytest.mark.parametrize(
    ("before", "after", "larger"), [(None, None, None), (0.1, None, 0.1), (0.1, 0.2, 0.2)]
)
def test_the_larger_load_is_kept(
    before: float | None, after: float | None, larger: float | None
) -> None:
    moments = (conditions(gpu_load=before), conditions(gpu_load=after))
    assert doubts.gpu_load(*moments) == larger


@pytest.mark.parametrize(("threads", "doubts_found"), [(1, 0), (4, 0), (5, 1)])
def test_more_threads_than_cores_are_doubted(threads: int, doubts_found: int) -> None:
    assert len(doubts.about_threads(threads, 4)) == doubts_found


@pytest.mark.parametrize(
    ("before", "now", "doubts_found"),
    [("a", "b", 1), ("a", "a", 0), (None, "a", 0), ("a", None, 0)],
)
def test_parts_of_different_starts_of_the_device_are_doubted(
    before: str | None, now: str | None, doubts_found: int
) -> None:
    assert len(doubts.about_restart(before, now)) == doubts_found


@pytest.mark.parametrize(
    ("last", "ratio", "words"),
    [
        (moment(), 0.2, "took 20 % of the processor"),
        (moment(), None, "unknown"),
        (moment(throttled=4, cpu_mhz=2000), 0.0, "throttled"),
        (moment(throttled=3, cpu_mhz=1800), 0.0, "from 2000 to 1800 MHz"),
        (moment(throttling=["gpu", "cpu"]), 0.0, "held down because of heat: cpu, gpu"),
        (moment(swapped_pages=1007), 0.0, "1,000 pages were swapped"),
    ],
)
def test_the_state_of_the_machine_is_doubted(
    last: Telemetry, ratio: float | None, words: str
) -> None:
    first = moment(throttled=3, cpu_mhz=2000, swapped_pages=7)
    (doubt,) = doubts.about_machine([first, last], ratio)
    assert words in doubt


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"power_mode": "MAXN"}, "power mode changed from 15W to MAXN"),
        ({"gpu": {**GPU, "max_mhz": 600.0}}, "300 to 900 MHz before, and to 300 to 600 MHz after"),
        ({"cpu_locked": True}, "locked or unlocked"),
    ],
)
def test_settings_that_somebody_changed_are_doubted(after: dict[str, Any], words: str) -> None:
    here = {"power_mode": "15W", "gpu": GPU, "cpu_locked": False}
    (doubt,) = doubts.about_clocks(conditions(**here), conditions(**{**here, **after}))
    assert words in doubt


def test_a_locked_clock_that_does_not_hold_is_doubted_and_a_free_one_may_fall() -> None:
    low = {**GPU, "now_mhz": 300.0}
    locked = {**low, "min_mhz": 900.0, "locked": True}
    (doubt,) = doubts.about_clocks(conditions(gpu=locked), conditions(gpu=locked))
    assert "locked to 900 MHz, but ran at 300 MHz" in doubt
    assert not list(doubts.about_clocks(conditions(gpu=low), conditions(gpu=low)))


def test_a_locked_clock_that_fell_between_turns_is_doubted_though_it_has_recovered(
    tmp_path: Path,
) -> None:
    locked = {**GPU, "min_mhz": 900.0, "locked": True}
    fell = [moment(gpu_mhz=900.0), moment(gpu_mhz=400.0), moment(gpu_mhz=900.0)]
    found = one(tmp_path, telemetry=fell, before={"gpu": locked}, after={"gpu": locked})
    assert "the GPU's clock is locked to 900 MHz, but ran at 400 MHz" in doubts.about(found)


def alternating(clocks: tuple[float, float], **columns: Any) -> Any:
    """Return 60 readings, in turns of two models; the second's have the clocks given.

    Args:
        clocks: MHz in the first half and in the second one.
        columns: of the line.
    """
    places = range(60)
    mine = [clocks[place >= 30] if place % 2 else 1000.0 for place in places]
    turns = [(place % 2, 10 * place, 10 * place + 5) for place in places]
    heat = [60.0 + place / 2 for place in places]
    told = {
        "times_ns": [10 * place + 2 for place in places],
        "turns": turns,
        "gpu_mhz": mine,
        "temperatures_c": {"tj": heat, "cpu": [20.0] * 60},
    }
    return series_line(**{**told, **columns})


def test_a_clock_that_falls_for_good_while_a_model_runs_is_doubted_with_the_heat() -> None:
    series = alternating((1000.0, 600.0))
    (doubt,) = doubts.about_falling_clocks(series, ("teacher", "student"))
    assert doubt == (
        "the GPU's clock fell from 1000 to 600 MHz while 'student' ran (tj at up to 90 C)"
    )


@pytest.mark.parametrize("clocks", [(1000.0, 960.0), (600.0, 1000.0)])
def test_a_clock_that_keeps_up_or_rises_is_not_doubted(clocks: tuple[float, float]) -> None:
    assert not list(doubts.about_falling_clocks(alternating(clocks), ("teacher", "student")))


def test_a_clock_that_goes_up_and_down_with_the_load_is_not_doubted() -> None:
    mine = [400.0 if place % 3 else 1000.0 for place in range(60)]
    series = alternating((1000.0, 1000.0), gpu_mhz=mine)
    assert not list(doubts.about_falling_clocks(series, ("teacher", "student")))


def test_a_single_slow_reading_at_the_end_is_not_doubted() -> None:
    series = alternating((1000.0, 1000.0), gpu_mhz=[1000.0] * 58 + [300.0] * 2)
    assert not list(doubts.about_falling_clocks(series, ("teacher", "student")))


def test_what_was_recorded_over_time_is_judged_with_the_rest(tmp_path: Path) -> None:
    names = ("teacher", "student")
    ticks = [moment(busy_ticks=n, all_ticks=4 * n, own_ticks=n) for n in (0, 100)]
    for clocks, count in (((1000.0, 1000.0), 0), ((1000.0, 600.0), 1)):
        found = taken(
            [subject(tmp_path, name) for name in names], [QUIET, QUIET], telemetry=ticks,
            series=alternating(clocks),
        )  # fmt: skip
        assert len([doubt for doubt in doubts.about(found) if "clock fell" in doubt]) == count


def test_the_clock_between_turns_does_not_count_and_few_readings_tell_nothing() -> None:
    series = alternating((1000.0, 600.0), turns=[(1, 0, 100)])
    assert not list(doubts.about_falling_clocks(series, ("teacher", "student")))
    assert not list(doubts.about_falling_clocks(None, ("teacher",)))


def test_the_processors_clock_is_judged_likewise() -> None:
    mine = [4000.0] * 30 + [3000.0] * 30
    series = alternating((1000.0, 1000.0), cpu_mhz=mine, temperatures_c={})
    found = list(doubts.about_falling_clocks(series, ("teacher", "student")))
    assert found == [
        f"the processor's clock fell from 4000 to 3000 MHz while '{name}' ran"
        for name in ("teacher", "student")
    ]


def test_throttling_and_a_lock_that_fails_within_a_turn_are_doubted() -> None:
    # Between turns, where telemetry looks, all is well again.
    series = series_line(
        times_ns=[0, 1, 2], gpu_mhz=[900.0, 500.0, 900.0], throttling=[(), ("gpu",), ()]
    )
    (doubt,) = doubts.about_machine([moment(), moment()], 0.0, series)
    assert doubt == "clocks are held down because of heat: gpu"
    locked = conditions(gpu={**GPU, "min_mhz": 900.0, "locked": True})
    (doubt,) = doubts.about_clocks(locked, locked, (), series)
    assert "locked to 900 MHz, but ran at 500 MHz" in doubt
