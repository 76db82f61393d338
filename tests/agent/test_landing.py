"""The landing as it runs on a board, at the end of two pipes instead of a connection."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.agent import landing

TEXT = Path(landing.__file__).read_text()
AGENT = """
import os, sys, time
print('{"schema_version": 1, "type": "machine", "machine": "m", "cores": 1}', flush=True)
if sys.argv[1] == "dies":
    sys.stdout.write('{"schema_ver')
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
while sys.argv[1] == "talks":
    print("{}" * 1000, flush=True)
time.sleep(float(sys.argv[1]))
print('{"schema_version": 1, "type": "done"}')
"""


def land(text: str = TEXT) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-c", text]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def errand(folder: Path, **changes: Any) -> bytes:
    agent = AGENT.encode()
    digest = hashlib.sha256(agent).hexdigest()
    tree = {
        "files": [{"name": "agent.pyz", "size": len(agent), "sha256": digest}],
        "fetch": [], "arguments": ["0"], "path": "", "folder": str(folder),
        "client": "me@here", "alone": False, "wait_s": 0.0, "limit_s": 60.0,
    } | changes  # fmt: skip
    text = json.dumps(tree).encode()
    return b"%010d" % len(text) + text + agent


def wait_for_agent(landed: subprocess.Popen[bytes], folder: Path) -> None:
    """Give the landing an errand of a minute, and return once its agent runs."""
    assert landed.stdin is not None
    assert landed.stdout is not None
    landed.stdin.write(errand(folder, arguments=["60"]))
    landed.stdin.flush()
    while b'"machine"' not in landed.stdout.readline():
        pass


def lines(landed: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    assert landed.stdout is not None
    with landed.stdout as stdout:
        found = [json.loads(line) for line in stdout]
    landed.wait(20)
    return found


def test_an_errand_is_done_and_leaves_nothing(tmp_path: Path) -> None:
    landed = land()
    assert landed.stdin is not None
    landed.stdin.write(errand(tmp_path))
    landed.stdin.flush()
    said = lines(landed)
    landed.stdin.close()
    assert [line["type"] for line in said] == ["landed", "ready", "machine", "done"]
    assert landed.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    damaged = errand(tmp_path)[:-1] + b"!"
    with land() as landed:
        assert landed.stdin is not None
        landed.stdin.write(damaged)
        landed.stdin.flush()
        said = lines(landed)
    assert said[-1]["type"] == "error"
    assert said[-1]["message"] == "'agent.pyz' has arrived damaged: send it again"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [3, 40, -1])
def test_an_errand_that_breaks_off_leaves_nothing(tmp_path: Path, part: int) -> None:
    landed = land()
    said, _ = landed.communicate(errand(tmp_path)[:part])
    assert "the connection ended before everything was sent" in said.decode()
    assert landed.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_leaves_ends_the_agent(tmp_path: Path) -> None:
    landed = land()
    said, _ = landed.communicate(errand(tmp_path, arguments=["60"]))
    assert b'"done"' not in said
    assert landed.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_falls_silent_is_taken_for_gone(tmp_path: Path) -> None:
    with land(TEXT.replace("SILENT_S = 60.0", "SILENT_S = 3.0")) as landed:  # long enough to start
        assert landed.stdin is not None
        landed.stdin.write(errand(tmp_path, arguments=["60"]))
        landed.stdin.flush()  # and no sign of life after that
        said = lines(landed)
    assert said[-1]["type"] == "machine"
    assert landed.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_time_is_up_even_when_nobody_reads_what_is_said(tmp_path: Path) -> None:
    text = TEXT.replace("_FAREWELL_S = 5.0", "_FAREWELL_S = 0.1")
    with land(text) as landed:
        assert landed.stdin is not None
        landed.stdin.write(errand(tmp_path, arguments=["talks"], limit_s=1.0))
        landed.stdin.flush()
        assert landed.wait(20) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_landing_that_is_told_to_end_cleans_up(tmp_path: Path) -> None:
    with land() as landed:
        wait_for_agent(landed, tmp_path)
        landed.terminate()
        assert landed.wait(20) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_landing_lives_in_is_not_swept(tmp_path: Path) -> None:
    with land() as landed:
        wait_for_agent(landed, tmp_path)
        (folder,) = tmp_path.iterdir()
        os.utime(folder, (0, 0))
        landing.sweep(str(tmp_path))
        assert (folder / "agent.pyz").exists()
        landed.terminate()


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    with land(TEXT.replace("_OLDEST = (3, 8)", "_OLDEST = (3, 99)")) as landed:
        said = lines(landed)
    assert [line["type"] for line in said] == ["landed", "error"]
    assert (
        f"its Python is {platform.python_version()}, and the agent needs 3.99"
        in (said[-1]["message"])
    )


def test_half_a_line_of_a_killed_agent_is_no_line(tmp_path: Path) -> None:
    with land() as landed:
        assert landed.stdin is not None
        landed.stdin.write(errand(tmp_path, arguments=["dies"]))
        landed.stdin.flush()
        said = lines(landed)
    assert [line["type"] for line in said] == ["landed", "ready", "machine", "error"]
    assert said[-1]["message"].startswith("the agent was ended by signal 9")


def test_what_does_not_fit_is_refused_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = {"name": "huge", "size": 1 << 60, "sha256": ""}
    with pytest.raises(landing.RefusedError, match=r"1099511627776 MiB must be sent, but '.*' has"):
        landing.take([file])


def test_a_lock_names_its_holder_and_is_free_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing.tempfile, "tempdir", str(tmp_path))
    with landing.alone("me@here", 0.0, mute):
        assert (tmp_path / "edgekd.lock").read_text().startswith("me@here since 20")
        assert (tmp_path / "edgekd.lock").stat().st_mode & 0o777 == 0o666
        with pytest.raises(landing.RefusedError, match="in use by me@here since"):
            enter(lambda: landing.alone("you@there", 0.0, mute))
    enter(lambda: landing.alone("you@there", 0.0, mute))


def mute(*_: Any, **__: Any) -> None:
    pass


def enter(lock: Callable[[], Any]) -> None:
    with lock():
        pass


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Anybody may write to /tmp: a link there must not make us open another file.
    monkeypatch.setattr(landing.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "edgekd.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(landing.RefusedError, match=r"symbolic links.*remove it"):
        enter(lambda: landing.alone("me@here", 0.0, mute))
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_folder_that_is_in_use_is_not_swept(tmp_path: Path) -> None:
    folder = tmp_path / "edgekd-landed-living"
    folder.mkdir()
    os.utime(folder, (0, 0))
    handle = os.open(folder, os.O_RDONLY)
    assert landing.locked(handle)
    landing.sweep(str(tmp_path))
    assert folder.exists()
    os.close(handle)
    assert time.time() - folder.stat().st_mtime > 3600
    landing.sweep(str(tmp_path))
    assert not folder.exists()
