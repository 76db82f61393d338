"""The files that travel to a board and back over one connection; see ``edgekd.agent.landing``."""

import contextlib
import json
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from edgekd.core import files
from edgekd.core.errors import DeviceError, RecordError
from edgekd.remote import lines
from edgekd.remote.errand import Fetched, Sent

SIGN_OF_LIFE_S = 10.0  # after landing.SILENT_S without one the board gives up


class Luggage:
    """What goes to the board and what comes back.

    Args:
        folder: private, for files that are not complete yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sends: dict[str, Path] = {}
        self._fetches: dict[str, Path] = {}

    def add(self, name: str, path: Path) -> None:
        """Send a file under a name, relative to the errand's folder on the board."""
        self._sends[name] = path

    def named(self, file: Sent | Fetched) -> str:
        """Return a file's name on the board; the same for the same file."""
        names = self._sends if isinstance(file, Sent) else self._fetches
        for name, path in names.items():
            if path == file.path:
                return name
        folder = f"{'in' if isinstance(file, Sent) else 'out'}{len(names)}"
        name = f"{folder}/{file.path.name}"
        names[name] = file.path
        for other in file.beside if isinstance(file, Sent) else ():
            names[f"{folder}/{other.name}"] = other
        return name

    def translate(self, message: str) -> str:
        """Return a message of the board's with the names that its files have here."""
        for name, path in (*self._sends.items(), *self._fetches.items()):
            message = message.replace(f"'{name}'", f"'{path}'")
        return message

    def header(self) -> dict[str, Any]:
        """Return what the board must know about the files.

        Raises:
            RecordError: one of them is missing.
        """
        return {
            "files": [_facts(name, path) for name, path in self._sends.items()],
            "fetch": list(self._fetches),
        }

    def feed(self, errand: Mapping[str, Any], stdin: IO[bytes], ended: threading.Event) -> None:
        """Write errand and files, then signs of life until ``ended`` or nobody reads them."""
        text = json.dumps(errand).encode()
        # Whatever ends this early closes the connection; the board and ssh's status say the rest.
        with contextlib.suppress(OSError), stdin:
            stdin.write(b"%010d" % len(text) + text)
            for path in self._sends.values():
                with path.open("rb") as file:
                    shutil.copyfileobj(file, stdin, 1 << 20)
            stdin.flush()
            while not ended.wait(SIGN_OF_LIFE_S):
                stdin.write(b"\n")
                stdin.flush()

    def receive(self, piece: lines.Piece) -> None:
        """Add a piece to its file, which appears here once it is complete.

        Raises:
            DeviceError: it was not asked for, or has arrived damaged.
        """
        if piece.name not in self._fetches:
            raise DeviceError(f"the board sent '{piece.name}', which nobody asked for")
        arrived = self._folder / f"arrived-{list(self._fetches).index(piece.name)}"
        with arrived.open("ab") as out:
            out.write(piece.data)
        if piece.sha256 is None:
            return
        if files.sha256_of(arrived) != piece.sha256:
            raise DeviceError(f"'{piece.name}' has arrived damaged from the board: try again")
        with files.replacing(self._fetches[piece.name]) as temporary:
            shutil.copyfile(arrived, temporary)


def _facts(name: str, path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RecordError(f"there is no file '{path}' to send to the board")
    return {"name": name, "size": path.stat().st_size, "sha256": files.sha256_of(path)}
