"""From readings to energies: by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import records
from edgekd.core.errors import DeviceError
from edgekd.profile import energy
from edgekd.profile.energy import NoResultError, Readings
from edgekd.remote import lines

SECOND = 1_000_000_000
BLOCKS = 6


def readings(*points: tuple[float, float], counter: bool = False) -> Readings:
    times_s, values = zip(*points, strict=True)
    return Readings(np.array(times_s), np.array(values), counter)


def test_power_is_integrated_by_trapezoids_from_reading_to_reading() -> None:
    # 1000 mW rising to 3000 mW over 2 s, then falling to 1000 mW: 4000 mJ a slope
    ramp = readings((0, 1000), (2, 3000), (4, 1000))
    assert ramp.energy_mj(0, 4) == 8000
    # From 1 s (2000 mW) to 3 s (2000 mW): two trapezoids of 2500 mJ
    assert ramp.energy_mj(1, 3) == 5000
    assert ramp.energy_mj(0.5, 1) == 0.5 * (1500 + 2000) / 2  # between two readings


def test_a_counter_is_read_at_both_ends() -> None:
    # 2 J in 4 s, then 6 J in 2 s; in microjoules
    counted = readings((0, 0), (4, 2e6), (6, 8e6), counter=True)
    assert counted.energy_mj(2, 5) == 1000 + 3000


@given(
    st.lists(st.floats(0, 1e5), min_size=2, max_size=20),
    st.tuples(*[st.floats(0, 1)] * 3).map(sorted),
    st.sampled_from(["mW", "uJ"]),
)
def test_the_energy_of_two_halves_is_that_of_the_whole(
    values: list[float], parts: list[float], unit: str
) -> None:
    rising = np.cumsum(values) if unit == "uJ" else np.array(values)
    told = Readings(np.arange(len(values), dtype=np.float64), rising, unit == "uJ")
    start, middle, end = (part * (len(values) - 1) for part in parts)
    halves = told.energy_mj(start, middle) + told.energy_mj(middle, end)
    assert halves == pytest.approx(told.energy_mj(start, end), rel=1e-6, abs=1e-3)


def test_too_few_readings_or_a_gap_are_no_result() -> None:
    steady = readings(*[(0.1 * index, 1.0) for index in range(100)])
    assert steady.count(1.05, 2.05) == 10
    with pytest.raises(NoResultError, match=r"9 readings in a stretch of 0\.9 s"):
        steady.count(1.05, 1.95)
    late = readings(*[(0.1 * index, 1.0) for index in [*range(15), *range(40, 60)]])
    with pytest.raises(NoResultError, match=r"none for 2\.6 s"):
        late.count(0, 4.05)
    with pytest.raises(NoResultError, match="none for"):  # it ended before the stretch did
        steady.count(8, 30)


@pytest.mark.parametrize(
    ("rails", "rail", "wanted", "scope"),
    [
        (["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"], None, ("VDD_IN",), "module"),
        (["POM_5V_CPU", "POM_5V_GPU", "POM_5V_IN"], None, ("POM_5V_IN",), "module"),
        (["VDD_GPU", "VIN", "VIN_SYS_5V0"], "VIN", ("VIN",), "board"),
        (["A", "B"], "B", ("B",), "module"),  # a profile of one's own
        (["A", "B"], "C", ("A", "B"), "sum of rails"),
        (["VDD_CPU_CV", "VIN_SYS_5V0"], None, ("VDD_CPU_CV", "VIN_SYS_5V0"), "sum of rails"),
        (["package-0", "package-1"], None, ("package-0", "package-1"), "package"),
    ],
)
def test_the_rail_that_carries_all_others_counts_alone(
    rails: list[str], rail: str | None, wanted: tuple[str, ...], scope: str
) -> None:
    assert energy.chosen(rails, rail) == (wanted, scope)


def told(
    *powers_mw: float, idle_mw: tuple[float, float] = (4000, 4000)
) -> tuple[lines.Power, list[lines.Stretch]]:
    """Return stretches of 2 s, 100 runs each, and readings at 10 Hz that jump between them."""
    plan: list[tuple[int | None, float]] = [(None, idle_mw[0])]
    plan += [(index, mw) for _ in range(BLOCKS) for index, mw in enumerate(powers_mw)]
    plan += [(None, idle_mw[1])]
    stretches, times_ns, values = [], [], []
    for place, (subject, power_mw) in enumerate(plan):
        start_ns = place * 4 * SECOND + SECOND
        times_ns += [start_ns + step * SECOND // 10 for step in range(-1, 23)]
        values += [(power_mw, 77.0)] * 24
        stretches.append(
            lines.Stretch(
                schema_version=1,
                type="stretch",
                subject=subject,
                block=None if subject is None else place,
                runs=0 if subject is None else 100,
                start_ns=start_ns,
                end_ns=start_ns + 2 * SECOND,
            )
        )
    power = lines.Power(
        schema_version=1, type="power", source="tegrastats", unit="mW",
        rails=("VDD_IN", "VDD_SOC"), times_ns=tuple(times_ns), values=tuple(values),
    )  # fmt: skip
    return power, stretches


def result(
    power: lines.Power, stretches: list[lines.Stretch], folder: Path, batch: int = 1
) -> tuple[records.Energy, list[records.Consumption | None]]:
    names = ["teacher", "student"][: len({each.subject for each in stretches}) - 1]
    return energy.result(power, stretches, names, batch, None, folder / "power.npz")


def test_idle_power_is_subtracted_and_the_rest_divided_by_the_images(tmp_path: Path) -> None:
    found, (teacher, student) = result(*told(10000, 6000), tmp_path, batch=2)
    assert teacher is not None
    assert student is not None
    # (10 W - 4 W) * 2 s / (100 runs * 2 images) = 60 mJ; with idle 100 mJ
    assert teacher.per_image_mj.value == pytest.approx(60)
    assert teacher.gross_per_image_mj == pytest.approx(100)
    assert teacher.power_mw == pytest.approx(10000)
    assert teacher.images == 1200
    assert student.per_image_mj.value == pytest.approx(20)
    assert student.ratio_to_first is not None
    assert student.ratio_to_first.value == pytest.approx(1 / 3)
    assert teacher.ratio_to_first is None
    assert (found.scope, found.rails, found.source) == ("module", ("VDD_IN",), "tegrastats")
    assert list(found.idle_mw or ()) == pytest.approx([4000, 4000])
    assert (found.blocks, found.fewest_readings) == (BLOCKS, 19)
    assert found.interval_ms == pytest.approx(100)
    assert found.doubts == ()


def test_readings_are_kept_beside_the_record(tmp_path: Path) -> None:
    power, stretches = told(10000)
    found, _ = result(power, stretches, tmp_path)
    assert found.readings_file == "power.npz"
    assert found.readings_sha256 is not None
    records.check_file(tmp_path / "power.npz", found.readings_sha256)
    with np.load(tmp_path / "power.npz", allow_pickle=False) as kept:
        assert kept["values"].tolist() == [list(row) for row in power.values]
        assert kept["stretches"][0].tolist() == [-1, 0, SECOND, 3 * SECOND]


def test_an_idle_power_that_moves_widens_the_interval_and_is_a_doubt(tmp_path: Path) -> None:
    found, (use,) = result(*told(10000, idle_mw=(4000, 5000)), tmp_path)
    assert use is not None
    # (10 - 4.5) W * 2 s / 100; half the change, 0.5 W, is 10 mJ
    assert use.per_image_mj.value == pytest.approx(110)
    assert use.per_image_mj.low == pytest.approx(100)
    assert use.per_image_mj.high == pytest.approx(120)
    (doubt,) = found.doubts
    assert "idle power was 4.00 W before and 5.00 W after" in doubt


@pytest.mark.parametrize(
    ("load_mw", "idle_mw"),
    [(4100, (4000, 4300)), (4003, (4000, 4000)), (4000.1, (4000.1, 4000.1))],
    ids=["idle moved", "below the resolution", "a sensor that is stuck"],
)
def test_a_load_that_cannot_be_told_from_idle_is_no_result(
    tmp_path: Path, load_mw: float, idle_mw: tuple[float, float]
) -> None:
    found, uses = result(*told(load_mw, idle_mw=idle_mw), tmp_path)
    assert uses == [None]
    assert found.missing is not None
    assert "cannot be told from" in found.missing


def test_a_sensor_that_tells_nothing_but_zero_is_no_result(tmp_path: Path) -> None:
    found, uses = result(*told(0, idle_mw=(0, 0)), tmp_path)
    assert uses == [None]
    assert found.missing == "the sensor told a power of 0 mW: it does not measure"


def test_a_sensor_that_was_silent_in_one_block_spoils_the_result(tmp_path: Path) -> None:
    power, stretches = told(10000, 6000)
    silent = stretches[5]
    kept = [
        (time_ns, value)
        for time_ns, value in zip(power.times_ns, power.values, strict=True)
        if not silent.start_ns < time_ns < silent.end_ns
    ]
    power = power.model_copy(
        update={"times_ns": tuple(k[0] for k in kept), "values": tuple(k[1] for k in kept)}
    )
    found, uses = result(power, stretches, tmp_path)
    assert uses == [None, None]
    assert found.missing is not None
    assert "0 readings in a stretch of 2.0 s" in found.missing
    assert found.readings_file == "power.npz"  # to look at


def test_no_sensor_is_recorded_with_its_reason(tmp_path: Path) -> None:
    power = lines.Power(schema_version=1, type="power", source=None, reason="none is there")
    found, uses = energy.result(power, [], ["a", "b"], 1, None, tmp_path / "power.npz")
    assert (found.missing, uses) == ("none is there", [None, None])
    assert not (tmp_path / "power.npz").exists()


@pytest.mark.parametrize("drop", [0, 3, -1], ids=["idle before", "a block", "idle after"])
def test_an_agent_that_leaves_a_stretch_out_is_refused(tmp_path: Path, drop: int) -> None:
    power, stretches = told(10000)
    del stretches[drop]
    with pytest.raises(DeviceError, match="stretches of each model and two idle ones"):
        result(power, stretches, tmp_path)


def test_values_that_are_not_of_the_rails_are_refused(tmp_path: Path) -> None:
    power, stretches = told(10000)
    with pytest.raises(DeviceError, match="of 1 rails"):
        result(power.model_copy(update={"rails": ("VDD_IN",)}), stretches, tmp_path)
