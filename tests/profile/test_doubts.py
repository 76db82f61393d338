import re

import numpy as np
import pytest

from edgekd.core.records import Interval, Timing
from edgekd.profile import doubts
from edgekd.remote.lines import Telemetry, Warmed


def moment(**values: float | None) -> Telemetry:
    nothing = {
        "busy_ticks": None,
        "all_ticks": None,
        "own_ticks": None,
        "cpu_mhz": None,
        "temperature_c": None,
        "throttled": None,
    }
    return Telemetry.model_validate({"schema_version": 1, "type": "telemetry", **nothing, **values})


def timing(drift_ratio: float = 1.0) -> Timing:
    interval = Interval(value=1.0, low=1.0, high=1.0, confidence=0.95)
    return Timing(
        subject="net",
        sha256="0" * 64,
        runs=60,
        p50_ms=interval,
        p90_ms=interval,
        p99_ms=None,
        ratio_to_first=None,
        drift_ratio=drift_ratio,
        load_ms=1.0,
        cold_ms=1.0,
        peak_memory_mib=1.0,
    )


def warmed(*, steady: bool = True) -> Warmed:
    line = {"schema_version": 1, "type": "warmed", "subject": 0, "runs": 10, "seconds": 10.0}
    return Warmed.model_validate(line | {"steady": steady})


def test_drift_is_the_last_third_over_the_first() -> None:
    samples = np.array([[1.0, 1.0, 9.0], [5.0, 5.0, 5.0], [2.0, 2.0, 9.0]])
    assert doubts.drift(samples) == 2.0


def test_spread_is_that_of_block_medians_and_blind_to_one_slow_run() -> None:
    samples = np.array([[1.0, 1.0, 500.0], [3.0, 3.0, 3.0]])
    # medians 1 and 3: mean 2, standard deviation sqrt(2)
    assert doubts.spread(samples) == pytest.approx(np.sqrt(2) / 2)


def test_one_block_has_no_spread() -> None:
    assert doubts.spread(np.array([[1.0, 2.0, 3.0]])) == 0.0


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


def test_a_quiet_measurement_raises_no_doubt() -> None:
    quiet = np.ones((10, 6))
    assert doubts.about_models([timing()], [quiet], [warmed()]) == []
    assert doubts.about_machine([moment(), moment()], 0.01) == []


@pytest.mark.parametrize(("ratio", "sign"), [(1.04, r"\+4\.0 %"), (0.96, r"-4\.0 %")])
def test_drift_in_either_direction_is_doubted(ratio: float, sign: str) -> None:
    (doubt,) = doubts.about_models([timing(ratio)], [np.ones((10, 6))], [warmed()])
    assert "'net' drifted by" in doubt
    assert re.search(sign, doubt)


def test_a_model_that_never_became_steady_is_doubted() -> None:
    (doubt,) = doubts.about_models([timing()], [np.ones((10, 6))], [warmed(steady=False)])
    assert "not steady after 10 s" in doubt


def test_blocks_that_differ_are_doubted() -> None:
    samples = np.repeat([[1.0], [1.05]] * 5, 6, axis=1)
    (doubt,) = doubts.about_models([timing()], [samples], [warmed()])
    assert "between blocks" in doubt


@pytest.mark.parametrize(("threads", "doubts_found"), [(1, 0), (4, 0), (5, 1)])
def test_more_threads_than_cores_are_doubted(threads: int, doubts_found: int) -> None:
    assert len(doubts.about_threads(threads, 4)) == doubts_found


@pytest.mark.parametrize(
    ("last", "ratio", "words"),
    [
        (moment(), 0.2, "took 20 % of the processor"),
        (moment(), None, "unknown"),
        (moment(throttled=4, cpu_mhz=2000), 0.0, "throttled"),
        (moment(throttled=3, cpu_mhz=1800), 0.0, "from 2000 to 1800 MHz"),
    ],
)
def test_the_state_of_the_machine_is_doubted(
    last: Telemetry, ratio: float | None, words: str
) -> None:
    first = moment(throttled=3, cpu_mhz=2000)
    (doubt,) = doubts.about_machine([first, last], ratio)
    assert words in doubt
