"""What OpenSSH says when a board cannot be reached, and what edgekd makes of it."""

from pathlib import Path

import pytest

from edgekd.core.errors import EnvironmentMissingError
from edgekd.remote import session
from edgekd.remote.errand import AbsentError, LostError
from edgekd.remote.ssh import Ssh

WAY = Ssh(name="line-3", host="192.0.2.17", python="python3")


FOR_GOOD = [
    ("@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @", "chmod 600"),
    ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", "host key has"),
    ("Host key verification failed.", "not known"),
    ("edge@192.0.2.17: Permission denied (publickey,password).", "refuses the key"),
    ("Received disconnect: 2: Too many authentication failures", "refuses the key"),
    ("ssh: Could not resolve hostname x: Name or service not known", "resolved"),
    ("ssh: connect to host 192.0.2.17 port 22: Connection refused", "nothing listens"),
    ("ssh: connect to host 192.0.2.17 port 22: No route to host", "does not answer"),
    ("ssh: connect to host x port 22: Network is unreachable", "does not answer"),
    ("Bad owner or permissions on /home/x/.ssh/config", "ssh says: Bad owner"),
]
FOR_NOW = [
    ("ssh: connect to host x port 22: Connection timed out", "does not answer"),
    ("ssh: connect to host x port 22: Operation timed out", "does not answer"),
    ("Connection timed out during banner exchange", "does not answer"),
    ("kex_exchange_identification: Connection closed by remote host", "was cut"),
    ("kex_exchange_identification: read: Connection reset by peer", "was cut"),
    ("Timeout, server 192.0.2.17 not responding.", "was cut"),
    ("client_loop: send disconnect: Broken pipe", "was cut"),
]


@pytest.mark.parametrize(("said", "meaning"), FOR_GOOD + FOR_NOW)
def test_a_fault_is_told_by_what_ssh_says(said: str, meaning: str) -> None:
    fault = WAY.fault(255, said, landed=False)
    assert fault is not None
    assert "'line-3' (192.0.2.17) cannot be reached" in str(fault)
    assert meaning in str(fault)
    assert fault.exit_status == 4


def test_a_jump_host_is_named_since_the_fault_may_be_its_own() -> None:
    way = Ssh(name="line-3", host="192.0.2.17", jump="edge@gate")
    fault = way.fault(255, "Connection timed out", landed=False)
    assert "'line-3' (192.0.2.17, through edge@gate) cannot be reached" in str(fault)


@pytest.mark.parametrize("said", [said for said, _ in FOR_NOW])
def test_what_may_pass_is_tried_again(said: str) -> None:
    assert isinstance(WAY.fault(255, said, landed=False), LostError)


@pytest.mark.parametrize("said", [said for said, _ in FOR_GOOD])
def test_what_will_not_pass_is_not_tried_again(said: str) -> None:
    assert not isinstance(WAY.fault(255, said, landed=False), LostError)


@pytest.mark.parametrize("why", ["Connection refused", "No route to host"])
def test_a_board_that_may_be_starting_is_one_to_wait_for(why: str) -> None:
    said = f"ssh: connect to host 192.0.2.17 port 22: {why}"
    assert isinstance(WAY.fault(255, said, landed=False), AbsentError)


def test_a_machine_without_ssh_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(EnvironmentMissingError, match="apt-get install openssh-client") as caught,
        session.talk("probe", reach=WAY),
    ):
        pass
    assert caught.value.exit_status == 4


def test_a_changed_key_is_no_unknown_key() -> None:
    both = "REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed."
    assert "has changed" in str(WAY.fault(255, both, landed=False))


@pytest.mark.parametrize(
    "said", ["SyntaxError: future feature annotations is not defined", "Unknown option: -I"]
)
def test_a_python_before_3_7_is_told(said: str) -> None:
    assert "no Python 3.8 or later called 'python3'" in str(WAY.fault(1, said, landed=False))


def test_what_the_agent_says_is_no_fault_of_the_way() -> None:
    assert WAY.fault(1, "Permission denied: SyntaxError", landed=True) is None


def test_a_connection_that_ends_after_the_landing_was_cut() -> None:
    fault = WAY.fault(255, "", landed=True)
    assert isinstance(fault, LostError)
    assert "the connection was cut before the agent was done" in str(fault)
