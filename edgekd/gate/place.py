"""Where a rule is written, so that a finding can point there."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Place:
    """The file with the rules."""

    file: str  # as CI names it: from the working directory, or absolute
    lines: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Place":
        """Read the file that the gate was taken from."""
        whole, here = path.resolve(), Path.cwd()
        shown = whole.relative_to(here) if whole.is_relative_to(here) else whole
        return cls(shown.as_posix(), tuple(path.read_text(encoding="utf-8").splitlines()))

    def line(self, rule: str) -> int:
        """Return the line, from 1, on which a rule is first written; 1 if it is not found."""
        key = re.compile(rf'^\s*(\[?gate\.|")?{re.escape(rule)}\b')
        return next((row for row, text in enumerate(self.lines, 1) if key.match(text)), 1)

    def uri(self) -> str:
        """Return the file as a URI: relative, or ``file:///...``."""
        uri = quote(self.file.encode("utf-8", "surrogateescape"))
        return f"file://{uri}" if self.file.startswith("/") else uri
