"""From readings over time to what is kept of them: by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.series import Series, Turn
from edgekd.profile import series
from edgekd.remote import lines
from tests.profile.agent import line, series_line

SECOND = 1_000_000_000


def kept(names: tuple[str, ...] = (), rail: str | None = None, **columns: Any) -> Series:
    found = series.record(series_line(**columns), names, rail)
    assert found is not None
    return found


def test_times_and_turns_count_from_the_first_reading() -> None:
    found = kept(
        ("teacher", "student"),
        times_ns=[5 * SECOND, 6 * SECOND, 7 * SECOND],
        turns=[(None, 5 * SECOND, 6 * SECOND), (1, 6 * SECOND, 7 * SECOND)],
    )
    assert found.times_s == (0, 1, 2)
    assert found.turns == (
        Turn(subject=None, start_s=0, end_s=1),
        Turn(subject="student", start_s=1, end_s=2),
    )


def test_turns_of_one_model_behind_one_another_are_one() -> None:
    turns = [(0, 0, 1), (0, 2, 3), (1, 3, 4), (0, 5, 6)]
    found = kept(("a", "b"), times_ns=[0], turns=[(m, s * SECOND, e * SECOND) for m, s, e in turns])
    assert [(t.subject, t.start_s, t.end_s) for t in found.turns] == [
        ("a", 0, 3), ("b", 3, 4), ("a", 5, 6),
    ]  # fmt: skip


def test_the_hottest_zone_is_kept_and_those_of_processor_and_gpu() -> None:
    found = kept(
        times_ns=[0, 1],
        temperatures_c={
            "tj-thermal": [50, 61], "cpu-thermal": [50, 60], "GPU-therm": [40, None],
            "gpu2": [30, 30], "board": [20, 20], "off": [None, None],
        },
    )  # fmt: skip
    assert set(found.temperatures_c) == {"tj-thermal", "cpu-thermal", "GPU-therm"}
    assert found.hottest == "tj-thermal"
    assert found.temperatures_c["GPU-therm"] == (40, None)


def test_many_readings_become_few_that_keep_the_extremes() -> None:
    count = 2 * series.POINTS + 1
    heat = [40.0] * count
    clock: list[float | None] = [1000.0] * count
    heat[7], clock[7], clock[8], clock[9] = 97.5, 300.0, None, None
    found = kept(
        times_ns=[place * SECOND for place in range(count)],
        temperatures_c={"tj": heat},
        gpu_mhz=clock,
        rails={"VDD_IN": [1000.0, 2000.0, 6000.0] * (count // 3) + [1000.0] * (count % 3)},
        source="ina3221",
        unit="mW",
    )
    assert len(found.times_s) == len(found.gpu_mhz) == -(-count // 3)
    assert found.times_s[:3] == (0, 3, 6)
    assert found.temperatures_c["tj"][1:4] == (40, 97.5, 40)
    assert found.gpu_mhz[1:5] == (1000, 300, 1000, 1000)
    assert found.power_w[0] == 3  # the mean of 1, 2 and 6 W


@given(st.integers(1, 2000))
def test_there_are_never_more_points_than_allowed(count: int) -> None:
    found = kept(times_ns=list(range(count)), gpu_mhz=[1.0] * count)
    assert len(found.times_s) == len(found.gpu_mhz) <= series.POINTS
    assert len(found.times_s) > min(count, series.POINTS) / 2


def test_the_rail_that_carries_the_others_counts_alone() -> None:
    rails = {"VDD_IN": [5000.0], "VDD_SOC": [2000.0]}
    found = kept(times_ns=[0], rails=rails, source="ina3221", unit="mW")
    assert (found.rails, found.power_w) == (("VDD_IN",), (5,))
    parts = {"GPU": [5000.0, None], "CPU": [2000.0, 1000.0]}
    found = kept(times_ns=[0, 1], rails=parts, source="ina3221", unit="mW")
    assert (found.rails, found.power_w) == (("GPU", "CPU"), (7, None))
    found = kept(rail="CPU", times_ns=[0, 1], rails=parts, source="ina3221", unit="mW")
    assert (found.rails, found.power_w) == (("CPU",), (2, 1))


def test_a_counters_power_is_what_it_gained_since_the_reading_before() -> None:
    found = kept(
        times_ns=[0, 2 * SECOND, 3 * SECOND],
        rails={"package-0": [0.0, 10e6, 25e6]},
        source="rapl",
        unit="uJ",
    )
    assert found.power_w == (None, 5, 15)  # 10 J in 2 s, 15 J in 1 s


def test_what_a_device_does_not_tell_is_empty_with_the_reason() -> None:
    found = kept(times_ns=[0, 1], no_power="no sensor")
    assert (found.temperatures_c, found.gpu_mhz, found.power_w) == ({}, (), ())
    assert (found.hottest, found.no_power) == (None, "no sensor")
    assert series.record(None, (), None) is None


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 values at 2 times"):
        series_line(times_ns=[0, 1], gpu_mhz=[1.0])
    with pytest.raises(ValueError, match="1 values at 2 times"):
        Series(times_s=(0, 1), cpu_mhz=(1,))
    assert isinstance(line("series", **series_line(times_ns=[0]).model_dump(
        exclude={"schema_version", "type"})), lines.Series)  # fmt: skip
