"""Which files and services are told of a verdict."""

from dataclasses import dataclass
from pathlib import Path

from edgekd.core import files
from edgekd.core.errors import EnvironmentMissingError
from edgekd.core.records import Verdict
from edgekd.gate import github
from edgekd.gate.junit import junit
from edgekd.gate.markdown import markdown
from edgekd.gate.place import Place
from edgekd.gate.sarif import sarif


@dataclass(frozen=True)
class Formats:
    """Where to write what; None: not asked for."""

    junit: Path | None = None
    markdown: Path | None = None
    sarif: Path | None = None
    github: bool = False

    def clear(self) -> None:
        """Remove the files of an earlier verdict: where none can be given, none may be found.

        Raises:
            EnvironmentMissingError: ``github`` outside GitHub Actions; a file cannot be written.
        """
        if self.github:
            github.places()
        for path in (self.junit, self.markdown, self.sarif):
            try:
                if path is not None:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise EnvironmentMissingError(f"'{path}' cannot be written: {error}") from error

    def write(self, verdict: Verdict, rules: Path) -> list[str]:
        """Write the files, and return the lines for the log of GitHub Actions.

        Args:
            verdict: to be told.
            rules: the file that they were taken from.
        """
        place = Place.read(rules)
        if self.junit is not None:
            files.write_text(self.junit, junit(verdict))
        if self.markdown is not None:
            files.write_text(self.markdown, markdown(verdict))
        if self.sarif is not None:
            files.write_text(self.sarif, sarif(verdict, place))
        if not self.github:
            return []
        github.tell(verdict)
        return github.annotations(verdict, place)

    def refusal(self, message: str) -> list[str]:
        """Return the lines for the log of GitHub Actions when no verdict can be given."""
        return [github.error(message)] if self.github else []
