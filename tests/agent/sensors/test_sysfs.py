"""Sources under /sys, on trees of files."""

from pathlib import Path

import pytest

from edgekd.agent import sensors
from edgekd.agent.sensors import hwmon, ina3221, rapl
from edgekd.agent.sensors.polling import Polled

JETSON = Path(__file__).parents[2] / "data" / "jetson"


def read_once(source: Polled | None) -> dict[str, float] | None:
    assert source is not None
    reading = source.read()
    source.close()
    return reading


@pytest.mark.parametrize(
    ("tree", "rails_mw"),
    [
        # 4976 mV * 2508 mA = 12479.808 mW ...; in7 is no rail
        ("orin-nano-jp6", {"VDD_IN": 12479.808, "VDD_CPU_GPU_CV": 4669.92, "VDD_SOC": 2821.824}),
        ("agx-orin-jp6", {"VDD_GPU_SOC": 2340.0, "VIN_SYS_5V0": 4025.0}),  # two chips; NC is none
    ],
)
def test_an_ina3221_gives_volts_times_amperes(tree: str, rails_mw: dict[str, float]) -> None:
    assert read_once(ina3221.open_source(str(JETSON / tree), 1)) == rails_mw


def iio(root: Path) -> str:
    """Write the sensor of a Nano with JetPack 4; such a name would trouble other file systems."""
    folder = root / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    folder.mkdir(parents=True)
    rails = [("POM_5V_IN", 4992, 500), ("NC", 4984, 0), ("POM_5V_CPU", 4984, 250)]
    for channel, (name, millivolts, milliamperes) in enumerate(rails):
        (folder / f"rail_name_{channel}").write_text(f"{name}\n")
        (folder / f"in_voltage{channel}_input").write_text(f"{millivolts}\n")
        (folder / f"in_current{channel}_input").write_text(f"{milliamperes}\n")
    return str(root)


def test_an_ina3221_of_jetpack_4_is_read_through_the_industrial_io_subsystem(
    tmp_path: Path,
) -> None:
    found = read_once(ina3221.open_source(iio(tmp_path), 1))
    assert found == {"POM_5V_IN": 2496.0, "POM_5V_CPU": 1246.0}


def test_a_chip_that_does_not_answer_gives_no_reading(tmp_path: Path) -> None:
    folder = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    folder.mkdir(parents=True)
    (folder / "in1_label").write_text("VDD_IN\n")
    (folder / "in1_input").write_text("5000\n")  # and no current
    for name, text in {"in2_label": "VDD_SOC", "in2_input": "5000", "curr2_input": "100"}.items():
        (folder / name).write_text(text + "\n")
    assert read_once(ina3221.open_source(str(tmp_path), 1)) == {}  # and no part of it


def test_a_single_rail_chip_gives_milliwatts_and_a_usb_port_is_no_rail() -> None:
    found = read_once(hwmon.open_source(str(JETSON / "thor-jp7"), 1))
    assert found == {"VIN": 26120.0, "ina238 hwmon2": 1500.0}


@pytest.mark.parametrize("module", [ina3221, hwmon, rapl])
def test_a_machine_without_a_sensor_has_no_such_source(module: object, tmp_path: Path) -> None:
    assert module.open_source(str(tmp_path), 1) is None  # type: ignore[attr-defined]


def zone(root: Path, number: str, name: str, used_uj: int, size_uj: int = 1000) -> Path:
    folder = root / "sys/class/powercap" / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(name + "\n")
    (folder / "energy_uj").write_text(f"{used_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{size_uj}\n")
    return folder


def test_rapl_counts_from_the_first_reading_on_and_only_packages(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", 700)
    zone(tmp_path, "0:0", "core", 5)
    zone(tmp_path, "1", "package-1", 40)
    source = rapl.open_source(str(tmp_path), 1)
    assert source is not None
    assert source.unit == "uJ"
    assert source.read() == {"package-0": 0, "package-1": 0}
    zone(tmp_path, "0", "package-0", 900)
    assert source.read() == {"package-0": 200, "package-1": 0}


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", 900)
    source = rapl.open_source(str(tmp_path), 1)
    assert source is not None
    source.read()
    zone(tmp_path, "0", "package-0", 50)  # 100 to the end, 50 behind it
    assert source.read() == {"package-0": 150}
    zone(tmp_path, "0", "package-0", 60)
    assert source.read() == {"package-0": 160}


def test_counters_that_this_user_may_not_read_are_named(tmp_path: Path) -> None:
    file = zone(tmp_path, "0", "package-0", 1) / "energy_uj"
    file.unlink()
    file.mkdir()  # reading fails for root, too
    with pytest.raises(sensors.SensorError, match=r"energy_uj' cannot be read.*run as root"):
        rapl.open_source(str(tmp_path), 1)


def test_polling_keeps_its_pace_and_ends_when_closed() -> None:
    source = Polled("test", "mW", 10_000, lambda: {"a": 1.0})
    assert source.read() == {"a": 1.0}  # the first at once
    source.close()
    assert source.read() is None  # and not in ten seconds


def test_the_first_source_that_is_there_is_opened(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0", 1)
    assert sensors.open_source(100, str(tmp_path)).name == "rapl"
    assert sensors.open_source(100, iio(tmp_path)).name == "ina3221"  # before a processor's
    source = sensors.open_source(100, str(JETSON / "orin-nano-jp6"))
    source.close()
    assert source.name == "tegrastats"  # though it has an INA3221


def test_a_machine_without_any_sensor_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(sensors.SensorError, match="no tegrastats, no INA3221"):
        sensors.open_source(100, str(tmp_path))


def test_every_file_here_is_a_source_or_what_they_share() -> None:
    files = {file.stem for file in Path(sensors.__file__).parent.glob("*.py")}
    assert files == {*sensors._NAMES, "polling", "__init__"}
