"""Lines of tegrastats; see tests/data/jetson for where they are from."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.agent.sensors import SensorError, tegrastats

JETSON = Path(__file__).parents[2] / "data" / "jetson"
LINES = (JETSON / "tegrastats.txt").read_text().splitlines()
XAVIER, NANO, TX2, ORIN_NANO, AGX_ORIN, THOR = LINES

RAILS = {
    XAVIER: {"GPU": 1155, "CPU": 385, "SOC": 2502, "CV": 0, "VDDRQ": 192, "SYS5V": 2692},
    NANO: {"POM_5V_IN": 933, "POM_5V_GPU": 0, "POM_5V_CPU": 84},  # the moment's, not the mean's
    TX2: {"VDD_SYS_GPU": 182, "VDD_SYS_SOC": 730, "VDD_IN": 5297, "VDD_SYS_CPU": 1917},
    ORIN_NANO: {"VDD_IN": 12479, "VDD_CPU_GPU_CV": 4667, "VDD_SOC": 2817},
    AGX_ORIN: {
        "VDD_GPU_SOC": 2340, "VDD_CPU_CV": 390, "VIN_SYS_5V0": 4025, "VDDQ_VDD2_1V8AO": 301,
    },
    THOR: {"VDD_GPU": -392, "VDD_CPU_SOC_MSS": 9512, "VIN_SYS_5V0": 5030, "VIN": 26120},
}  # fmt: skip
NAMES = ["xavier", "nano", "tx2", "orin nano", "agx orin", "thor"]


@pytest.mark.parametrize("line", LINES, ids=NAMES)
def test_a_line_tells_each_rail_in_milliwatts(line: str) -> None:
    assert tegrastats.rails_mw(line) == RAILS[line]


@given(st.sampled_from(LINES), st.data())
def test_a_line_that_was_cut_tells_no_other_power(line: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(line)))
    assert tegrastats.rails_mw(line[:end]).items() <= RAILS[line].items()


@given(st.sampled_from(LINES), st.data())
def test_tokens_that_are_not_known_change_nothing(line: str, data: st.DataObject) -> None:
    strange = st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="/"))
    place = line.index("CPU [")
    assert (
        tegrastats.rails_mw(line[:place] + data.draw(strange) + " " + line[place:]) == RAILS[line]
    )


@given(st.text() | st.lists(st.sampled_from(" ".join(LINES).split())).map(" ".join))
def test_garbage_is_no_error_and_tells_only_numbers_that_stand_in_it(text: str) -> None:
    for rail, power_mw in tegrastats.rails_mw(text).items():
        assert f"{rail} {power_mw:.0f}" in text
        assert rail not in {"RAM", "SWAP", "IRAM", "NC"}


@pytest.mark.parametrize(
    "text",
    [
        "VDD_IN 124mW/12",  # cut inside a number
        "VDD_IN 12479mW/12479",
        "RAM 407/158",  # memory, cut before its unit
        "VDD_IN 99999999mW/99999999mW",  # 100 kW
        "VDD_IN 1mW/1mW VDD_IN 2mW/2mW",  # which one?
        "1155/1155",
        "GPU@28C",
    ],
)
def test_what_is_no_rail_is_not_taken_for_one(text: str) -> None:
    assert tegrastats.rails_mw(text) == {}


@pytest.mark.parametrize(
    ("name", "line"), [("orin-nano-jp6", ORIN_NANO), ("xavier-jp5", XAVIER), ("thor-jp7", THOR)]
)
def test_a_running_program_is_read_line_by_line_and_ended(name: str, line: str) -> None:
    source = tegrastats.open_source(str(JETSON / name), 1)
    assert source is not None
    assert source.read() == RAILS[line]
    assert source.read() == RAILS[line]
    source.close()
    assert source._process.poll() is not None


def _program(folder: Path, script: str) -> str:
    file = folder / "usr" / "bin" / "tegrastats"
    file.parent.mkdir(parents=True)
    file.write_text(script)
    file.chmod(0o755)
    return str(folder)


def test_a_last_line_that_was_cut_is_not_believed(tmp_path: Path) -> None:
    root = _program(tmp_path, "#!/bin/sh\nprintf 'GPU 5/5\\nGPU 7/7'\n")
    source = tegrastats.open_source(root, 1)
    assert source is not None
    assert [source.read(), source.read(), source.read()] == [{"GPU": 5}, None, None]
    source.close()


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="tegrastats' cannot be started"):
        tegrastats.open_source(_program(tmp_path, "#!/nowhere/sh\n"), 1)


def test_one_that_hangs_is_ended_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    root = _program(tmp_path, f"#!/bin/sh\necho $$ > {tmp_path}/pid.new\n"
        f"mv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 60\n")  # fmt: skip
    agent = (
        "import sys; from edgekd.agent.sensors import tegrastats; "
        "tegrastats.open_source(sys.argv[1], 100).read()"
    )
    with subprocess.Popen([sys.executable, "-c", agent, root]) as process:
        _wait_until((tmp_path / "pid").exists)
        process.kill()
    stat = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    _wait_until(lambda: not stat.exists() or ") Z " in stat.read_text())


def _wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_machine_without_it_has_no_such_source(tmp_path: Path) -> None:
    assert tegrastats.open_source(str(tmp_path), 1) is None
