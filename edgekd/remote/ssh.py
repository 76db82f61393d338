"""Reach a board over the system's OpenSSH: one connection an errand, no password, no shell string.

``edgekd/agent/landing.py`` is the program that ssh starts on the board; it says what goes over the
connection. Keys, ``~/.ssh/config`` and known_hosts are the user's, and are only read.
"""

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from edgekd.core.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekd.remote import bundle
from edgekd.remote.errand import WAIT_S, AbsentError, Errand, LostError, Start, client
from edgekd.remote.luggage import Luggage

_LANDING = Path(__file__).parents[1] / "agent" / "landing.py"
_FAILED = 255  # ssh's own status, not the board's
_NO_PROGRAM = 127
_ODD = set('"\\\n\r*?[')
_TOO_OLD = r"SyntaxError|Unknown option: -I"  # what Python 3.6, and 2, says of the landing
_OPTIONS = {
    "BatchMode": "yes",  # ask nothing
    "StrictHostKeyChecking": "yes",  # trust no key that is not known
    "UpdateHostKeys": "no",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "6",
    "ControlPath": "none",  # no other session's traffic beside a measurement
    "ControlMaster": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "LogLevel": "INFO",  # its messages tell why it failed
}

_CHANGED = (
    "its host key has changed. If the board was flashed anew, remove the old key (ssh-keygen -R), "
    "connect once by hand and compare the fingerprint; if it was not, somebody may listen"
)
_UNKNOWN = (
    "its host key is not known. Connect once by hand (ssh) and compare the fingerprint with the "
    "board's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"
)
_REFUSED = (
    "it refuses the key. Install yours (ssh-copy-id), name the right one as 'identity' in the "
    "inventory, or unlock it (ssh-add); passwords are never asked for"
)
_EXPOSED = "others can read the private key, so ssh does not use it: chmod 600 it"
_NAME = "its name cannot be resolved: check 'host' in the inventory, or use an address"
_CLOSED_PORT = "nothing listens at its port: is sshd running there, and is 'port' right?"
_NO_ROUTE = "it does not answer: is it switched on, and in this network?"
_CUT = "the connection was cut"

# What OpenSSH says on stderr, what it means, and as what it is raised: whether to try again.
_FAULTS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", _CHANGED, DeviceError),
    (r"host key is known|Host key verification failed", _UNKNOWN, DeviceError),
    (r"UNPROTECTED PRIVATE KEY", _EXPOSED, DeviceError),
    (r"Permission denied|Too many authentication failures", _REFUSED, DeviceError),
    (r"Could not resolve hostname", _NAME, DeviceError),
    (r"Connection refused", _CLOSED_PORT, AbsentError),
    (r"No route to host", _NO_ROUTE, AbsentError),
    (r"Network is unreachable", _NO_ROUTE, DeviceError),
    (r"(Connection|Operation) timed out|Connection timed out during", _NO_ROUTE, LostError),
    (r"Connection (closed|reset)|closed by remote|not responding|[Bb]roken pipe", _CUT, LostError),
)


@dataclass(frozen=True)
class Ssh:
    """A board that OpenSSH reaches.

    Args:
        name: in messages.
        host: a name, an address, or a Host of the ssh configuration.
        user, port, jump, identity, config: ssh's -l, -p, -J, -i, -F; None: as ssh has it. The
            board's options hold for hosts on the way, too, but for its user, port and identity.
        python: a Python of 3.8 or later there.
        folder: where the errands' folders are made there.
        trtexec: the program's path there; None: the agent looks for it.
        limit_s: seconds after which an agent is ended there, > 0.
        wait_s: seconds to wait while another client uses the board, >= 0.
        pauses_s: seconds before each further attempt.
        return_s: seconds in which a board that was lost at work may come back, and say whether it
            has restarted, >= 0.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    identity: Path | None = None
    config: Path | None = None
    python: str = "python3"
    folder: str = "/tmp"  # noqa: S108 - the landing makes a private folder in it
    trtexec: str | None = None
    limit_s: float = 7200.0
    wait_s: float = WAIT_S
    pauses_s: tuple[float, ...] = (1.0, 4.0)
    return_s: float = 90.0  # a Jetson starts in about a minute

    @property
    def place(self) -> str:
        """Return the board's name, its host, and what leads there."""
        through = f", through {self.jump}" if self.jump else ""
        return f"'{self.name}' ({self.host}{through})"

    def command(self, config: Path | None = None) -> list[str]:
        """Return the argument list of ssh.

        Args:
            config: a file in place of the board's ``config``.
        """
        words = ["ssh", "-T"]
        for name, value in _OPTIONS.items():
            words += ["-o", f"{name}={value}"]
        if self.identity is not None:
            words += ["-o", "IdentitiesOnly=yes", "-i", str(self.identity)]
        for option, word in (
            ("-F", config or self.config), ("-l", self.user), ("-p", self.port), ("-J", self.jump),
        ):  # fmt: skip
            if word is not None:
                words += [option, str(word)]
        # ssh hands one string to the login shell of the board.
        program = _LANDING.read_text(encoding="utf-8")
        return [*words, "--", self.host, "exec " + shlex.join([self.python, "-I", "-c", program])]

    def strict_config(self) -> str:
        """Return the text of a configuration that holds the options and includes the user's.

        Of a command's options, ssh passes to a host on the way the file of ``-F`` alone.

        Raises:
            UsageError: the user's has a name that ssh would not read as it is.
        """
        if _ODD & set(str(self.config)):
            raise UsageError(
                f"{self.place}: the name of its 'ssh_config', '{self.config}', must be without "
                "quotation marks, backslashes, line ends, *, ? and [: rename it"
            )
        paths = (
            [self.config.absolute()] if self.config else ["~/.ssh/config", "/etc/ssh/ssh_config"]
        )
        lines = [f"{name} {value}" for name, value in _OPTIONS.items()]
        return "\n".join([*lines, *(f'Include "{path}"' for path in paths), ""])

    def prepare(self, errand: Errand, folder: Path) -> Start:
        """Pack the agent and name the files that travel.

        Raises:
            EnvironmentMissingError: this machine has no ssh.
            UsageError: a file that the inventory names for ssh is not there, or has an odd name.
        """
        self._check_files()
        if shutil.which("ssh") is None:
            raise EnvironmentMissingError(
                f"{self.place} is reached by the program 'ssh', which is not on the PATH: install "
                "OpenSSH's client (sudo apt-get install openssh-client)"
            )
        luggage = Luggage(folder)
        bundle.write(folder / "agent.pyz")
        luggage.add("agent.pyz", folder / "agent.pyz")
        arguments = [errand.verb]
        request = errand.resolved(luggage.named)
        if request is not None:
            file = folder / "request.json"
            file.write_text(json.dumps(request), encoding="utf-8")
            luggage.add(file.name, file)
            arguments.append(file.name)
        header = {
            **luggage.header(),
            "arguments": arguments,
            "path": str(PurePosixPath(self.trtexec).parent) if self.trtexec else "",
            "folder": self.folder,
            "client": client(),
            "alone": errand.verb != "probe",
            "wait_s": self.wait_s,
            "limit_s": self.limit_s,
        }
        config = None
        if self.jump is not None:
            config = folder / "ssh_config"
            config.write_text(self.strict_config(), encoding="utf-8")
        feed = partial(luggage.feed, header)
        return Start(self.command(config), feed, luggage.receive, luggage.translate)

    def _check_files(self) -> None:
        for key, file in (("identity", self.identity), ("ssh_config", self.config)):
            # Of a key that ssh-agent holds, the public half is enough.
            if file is not None and not (file.is_file() or Path(f"{file}.pub").is_file()):
                raise UsageError(f"{self.place}: there is no file '{file}', its '{key}'")

    def fault(self, status: int, stderr: str, *, landed: bool) -> DeviceError | None:
        """Read ssh's status and last words."""
        place = self.place
        if landed:
            lost = status == _FAILED
            return LostError(f"{place}: {_CUT} before the agent was done") if lost else None
        if status == _FAILED:
            return _unreachable(place, stderr)
        if status == _NO_PROGRAM or re.search(_TOO_OLD, stderr):
            return DeviceError(
                f"{place} has no Python 3.8 or later called '{self.python}': name one as 'python' "
                "in the inventory"
            )
        return None


def _unreachable(place: str, stderr: str) -> DeviceError:
    for pattern, meaning, kind in _FAULTS:
        if re.search(pattern, stderr):
            return kind(f"{place} cannot be reached: {meaning}")
    return DeviceError(f"{place} cannot be reached. ssh says: {stderr.strip()}")
