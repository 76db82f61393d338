import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.agent import protocol
from edgekd.agent.protocol import AgentError


def test_every_line_names_schema_and_type(capsys: pytest.CaptureFixture[str]) -> None:
    protocol.emit("progress", done=1, total=2, note="")
    protocol.forward({"schema_version": 1, "type": "block", "samples_ns": [5]}, subject=3)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"schema_version": 1, "type": "progress", "done": 1, "total": 2, "note": ""},
        {"schema_version": 1, "type": "block", "samples_ns": [5], "subject": 3},
    ]


def test_what_a_native_library_prints_does_not_reach_stdout() -> None:
    script = (
        "import os; from edgekd.agent.protocol import claim_stdout, emit; claim_stdout(); "
        "os.write(1, b'native chatter\\n'); print('more'); emit('done')"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == '{"schema_version": 1, "type": "done"}\n'
    assert "native chatter" in found.stderr


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema_version": 2}', "{}", "\x00"])
def test_a_request_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "request.json"
    file.write_text(text)
    with pytest.raises(AgentError, match=r"request\.json"):
        protocol.read_request(str(file))


def test_a_request_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read"):
        protocol.read_request(str(tmp_path / "none.json"))
