"""How the host treats agents that misbehave: each is a real process, written in a line or two."""

import getpass
import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from edgekd.core.errors import DeviceError, RecordError
from edgekd.remote import errand, lines, session

DONE = 'print(\'{"schema_version": 1, "type": "done"}\', flush=True);'


def listen(script: str, silence_s: float = 30.0, verb: str = "run") -> list[lines.Line]:
    command = [sys.executable, "-S", "-c", script]
    with session.talk(verb, {"runs": 3}, command=command, silence_s=silence_s) as said:
        return list(said)


def alive(pid: int) -> bool:
    """A process that has ended but is not yet reaped by its parent counts as gone."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_request_arrives_with_its_schema_version() -> None:
    script = (
        "import json, sys; request = json.load(open(sys.argv[2]));"
        "line = {'schema_version': 1, 'type': 'machine', 'cores': 1};"
        "line['machine'] = sys.argv[1] + repr(request);"
        "print(json.dumps(line));" + DONE
    )
    (line,) = listen(script, verb="infer")
    assert isinstance(line, lines.Machine)
    assert line.machine == "infer{'schema_version': 1, 'runs': 3}"


@pytest.mark.parametrize(("verb", "alone"), [("run", True), ("build", True), ("infer", False)])
def test_who_measures_here_asks_to_be_alone(verb: str, *, alone: bool, tmp_path: Path) -> None:
    start = session.Local(wait_s=7.0).prepare(errand.Errand(verb, {"runs": 3}), tmp_path)
    request = json.loads(Path(start.command[-1]).read_text())
    wanted = {"client": f"{getpass.getuser()}@{socket.gethostname()}", "wait_s": 7.0}
    assert request.get("alone") == (wanted if alone else None)


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(errand.getpass, "getuser", unknown)
    assert errand.client() == f"user {os.getuid()}@{socket.gethostname()}"


def test_a_user_who_has_to_wait_is_told_for_whom(caplog: pytest.LogCaptureFixture) -> None:
    line = {"schema_version": 1, "type": "waiting", "holder": "me@here since noon"}
    assert listen(f"import json; print(json.dumps({line!r}));" + DONE) == []
    assert "this machine is in use by me@here since noon: waiting for it" in caplog.text


def test_lines_end_with_done() -> None:
    assert listen(DONE + "print('never read')") == []


def test_garbage_on_stdout_is_shown() -> None:
    with pytest.raises(DeviceError, match="wrote 'Segmentation fault'"):
        listen("print('Segmentation fault')")


def test_a_killed_agent_is_reported_with_its_signal_and_its_last_words() -> None:
    script = (
        "import os, sys; print('no room', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    )
    with pytest.raises(DeviceError, match=r"ended by signal 9 before it was done:\nno room"):
        listen(script)


def test_an_agent_that_ends_too_early_is_reported_with_its_status() -> None:
    with pytest.raises(DeviceError, match="ended with status 3 before it was done"):
        listen("import sys; sys.exit(3)")


def test_a_silent_agent_is_given_up() -> None:
    with pytest.raises(DeviceError, match="has said nothing for"):
        listen("import time; time.sleep(60)", silence_s=0.2)


def test_a_program_that_is_missing_cannot_be_started() -> None:
    with (
        pytest.raises(DeviceError, match="cannot be started"),
        session.talk("probe", command=["/nowhere/python"]) as said,
    ):
        list(said)


@pytest.mark.parametrize(
    ("kind", "error"), [("model", RecordError), ("engine", DeviceError), ("request", DeviceError)]
)
def test_an_error_line_becomes_an_error_with_its_message(kind: str, error: type[Exception]) -> None:
    line = {"schema_version": 1, "type": "error", "kind": kind, "message": "'a.onnx' is torn"}
    with pytest.raises(error, match=r"'a\.onnx' is torn"):
        listen(f"import json; print(json.dumps({line!r}))")


def test_leaving_early_ends_the_agent_and_what_it_started() -> None:
    script = (
        "import json, subprocess, sys, time;"
        "command = [sys.executable, '-S', '-c', 'import time; time.sleep(60)'];"
        "child = subprocess.Popen(command, stdout=subprocess.DEVNULL);"
        "line = {'schema_version': 1, 'type': 'machine', 'cores': 1, 'machine': str(child.pid)};"
        "print(json.dumps(line), flush=True); time.sleep(5)"
    )
    command = [sys.executable, "-S", "-c", script]
    with session.talk("run", command=command) as said:
        line = next(said)
        assert isinstance(line, lines.Machine)
        child = int(line.machine)
        assert alive(child)
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(child)


def test_an_agent_that_ignores_the_request_to_end_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "_PATIENCE_S", 0.2)
    script = (
        "import json, os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "line = {'schema_version': 1, 'type': 'machine', 'cores': 1, 'machine': str(os.getpid())};"
        "print(json.dumps(line), flush=True); time.sleep(60)"
    )
    with session.talk("run", command=[sys.executable, "-S", "-c", script]) as said:
        line = next(said)
        assert isinstance(line, lines.Machine)
    assert not alive(int(line.machine))


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(DeviceError):
        listen("print('x')")
    assert list(tmp_path.iterdir()) == []


def test_modules_in_the_working_directory_are_not_taken_for_the_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    with session.talk("probe") as said:
        (line,) = said
    assert isinstance(line, lines.Probe)
    assert line.cores == len(os.sched_getaffinity(0))
