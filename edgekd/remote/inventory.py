"""The inventory: a TOML file of the user's that says how to reach each board of a fleet.

    [line-3]                       # its name, for --device
    profile = "orin-nano-8gb"      # what kind of board it is: edgekd list devices
    host = "192.0.2.17"
    user = "edge"

    [bench]                        # this machine is a board: no SSH
    profile = "agx-orin-64gb"
    local = true
    python = "/usr/bin/python3"    # that sees TensorRT; left out: edgekd's own

It is the file that ``--inventory`` names, else ``$EDGEKD_INVENTORY``, else
``~/.config/edgekd/devices.toml``; the working directory is never searched.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from edgekd.core import catalogue, checking
from edgekd.core.errors import UsageError, did_you_mean
from edgekd.remote import devices
from edgekd.remote.errand import Reach
from edgekd.remote.session import Local
from edgekd.remote.ssh import Ssh

_LABEL = "label:"
_HERE = {"profile", "local", "python", "labels"}  # what an entry can say of this machine
_WORD = r"[\w\[][\w.:@%+/\[\]-]*"  # an address may have brackets and a zone


def _plain(text: str) -> str:
    """Refuse what ssh, or the shell in which it starts a proxy, could take for anything else."""
    if not re.fullmatch(f"{_WORD}(,{_WORD})*", text, re.ASCII):
        raise ValueError(
            "must be one word of letters, digits and _ . : @ % + / [ ] -, not beginning with '-'; "
            "what needs more, say in ssh's configuration, and give the name of its Host here"
        )
    return text


def _in_full(text: str) -> str:
    if not text or text.startswith(("~", "-")):
        raise ValueError("must be written in full: nobody expands '~' on the board")
    return text


Word = Annotated[str, AfterValidator(_plain)]
There = Annotated[str, AfterValidator(_in_full)]  # a path on the board


class Entry(checking.Spec):
    """How one board is reached."""

    profile: str  # a built-in device, or a file that ends in .toml
    local: bool = False  # it is this machine
    host: Word | None = None  # a name, an address, or a Host of the ssh configuration
    user: Word | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    jump: Word | None = None  # a host to go through, as ssh's -J takes it
    identity: Path | None = None  # a private key
    ssh_config: Path | None = None  # instead of ~/.ssh/config
    python: There = "python3"  # 3.8 or later, with numpy; a virtual environment's, for example
    folder: There = "/tmp"  # noqa: S108 - where its private folders are made; needs room
    trtexec: There | None = None  # its path; None: on the PATH, or where JetPack puts it
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_here_or_away(self) -> Self:
        if not self.local and self.host is None:
            raise ValueError("host: missing; or local = true, if the board is this machine")
        odd = sorted(self.model_fields_set - _HERE) if self.local else []
        if odd:
            raise ValueError(f"local = true needs no way to the board: leave out {', '.join(odd)}")
        return self


@dataclass(frozen=True)
class Place:
    """Where models run: a device, and the way to it."""

    name: str
    kind: str  # the device's name
    device: devices.Device
    reach: Reach

    @property
    def rail(self) -> str | None:
        """Return the rail that carries the board's whole power; None: none that is known."""
        return None if self.device.board is None else self.device.board.rail

    @property
    def way(self) -> tuple[object, ...]:
        """Return what tells a board from another that takes over its name; empty: it is here."""
        way = self.reach
        return (way.host, way.port, way.jump, way.python) if isinstance(way, Ssh) else ()


def find(name: str, file: Path | None = None) -> Place:
    """Return a place by its name: ``host-cpu``, or an entry of the inventory.

    Args:
        name: of the entry or of a device on this machine.
        file: the inventory; None: the user's own.

    Raises:
        UsageError: there is no such entry, or the inventory cannot be used.
    """
    if _is_local(name):
        return Place(name, name, devices.find(name), Local())
    path = file or default_file()
    entries = read(path) if file is not None or path.is_file() else {}
    if name in entries:
        return _place(name, entries[name], path)
    if name.endswith(".toml") or name in catalogue.names("profiles"):
        raise UsageError(
            f"'{name}' is a kind of board, and says nothing of how to reach one: give the name of "
            f"an entry of the inventory ('{path}'), or estimate with `edgekd profile`"
        )
    known = [*entries, *(kind for kind in catalogue.names("profiles") if _is_local(kind))]
    raise UsageError(
        f"no device is called '{name}'.{did_you_mean(name, known)} Boards stand in the inventory "
        f"('{path}'{'' if path.is_file() else ', which is not there'})."
    )


def usable(name: str, file: Path | None = None) -> Place:
    """Return a place that takes models; see ``find``.

    Raises:
        UsageError: there is no such place, or its kind is only there for estimates.
    """
    place = find(name, file)
    if place.device.refuses is not None:
        raise UsageError(f"'{name}' ({place.kind}) takes no models: {place.device.refuses}")
    return place


def chosen(words: Sequence[str], file: Path | None = None) -> list[str]:
    """Return the devices that words name, each once; ``label:lab-1``: all entries of that label.

    Raises:
        UsageError: no entry has such a label, or the inventory cannot be used.
    """
    names: list[str] = []
    for word in words:
        if not word.startswith(_LABEL):
            names.append(word)
            continue
        label, path = word.removeprefix(_LABEL), file or default_file()
        entries = read(path)
        found = [name for name, entry in entries.items() if label in entry.labels]
        if not found:
            known = {each for entry in entries.values() for each in entry.labels}
            hint = did_you_mean(label, known) if known else " None of its entries has a label."
            raise UsageError(f"no device of '{path}' has the label '{label}'.{hint}")
        names += found
    return list(dict.fromkeys(names))


def kind_of_board(name: str, file: Path | None = None) -> devices.Device | None:
    """Return the facts behind a bare kind of board, which nobody can reach; None: it is a place.

    An entry of the inventory goes before a kind of the same name.
    """
    path = file or default_file()
    if _is_local(name) or ((file is not None or path.is_file()) and name in read(path)):
        return None
    known = name.endswith(".toml") or name in catalogue.names("profiles")
    return devices.find(name) if known else None


def read(path: Path) -> dict[str, Entry]:
    """Read an inventory.

    Raises:
        UsageError: it is missing or not TOML, or an entry has unknown keys or values.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the inventory '{path}' cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the inventory '{path}' is not valid TOML: {error}") from error
    return {name: _entry(name, values, path) for name, values in tree.items()}


def default_file() -> Path:
    """Return the path of the user's own inventory, whether or not it is there."""
    given = os.environ.get("EDGEKD_INVENTORY")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "edgekd" / "devices.toml"


def _entry(name: str, values: Any, path: Path) -> Entry:
    if _is_local(name):
        raise UsageError(f"'{path}': '{name}' is this machine's own name: give the board another")
    if not isinstance(values, dict):
        raise UsageError(f"'{path}': '{name}' must be a table: [{name}], then its keys")
    return checking.checked(Entry, values, f"device '{name}' of '{path}'")


def _place(name: str, entry: Entry, path: Path) -> Place:
    device = _kind(name, entry.profile, path)
    if entry.host is None:
        python = entry.python if "python" in entry.model_fields_set else None
        here = Local(place=f"'{name}'", python=python)
        return Place(name, entry.profile, device, here)
    way = Ssh(
        name=name,
        host=entry.host,
        user=entry.user,
        port=entry.port,
        jump=entry.jump,
        identity=entry.identity and _beside(path, entry.identity),
        config=entry.ssh_config and _beside(path, entry.ssh_config),
        python=entry.python,
        folder=entry.folder,
        trtexec=entry.trtexec,
    )
    return Place(name, entry.profile, device, way)


def _kind(name: str, profile: str, path: Path) -> devices.Device:
    """Return the facts behind an entry's ``profile``."""
    kind = str(_beside(path, Path(profile))) if profile.endswith(".toml") else profile
    try:
        return devices.find(kind)
    except UsageError as error:
        raise UsageError(f"'{path}': the profile of '{name}': {error}") from error


def _beside(inventory: Path, path: Path) -> Path:
    """Return a path of the inventory; a relative one begins at its folder."""
    return inventory.absolute().parent / path.expanduser()


def _is_local(name: str) -> bool:
    known = name.endswith(".toml") or name in catalogue.names("profiles")
    return known and devices.find(name).reach == "local"
