"""Pack the agent into one file that any Python 3.8 starts: ``python agent.pyz probe``."""

import zipfile
from pathlib import Path

from edgekd.core import files

_AGENT = Path(__file__).parents[1] / "agent"
_PACKAGE = "edgekd_agent"
_START = f"import sys\n\nfrom {_PACKAGE}.__main__ import main\n\nsys.exit(main())\n"


def write(path: Path) -> str:
    """Write the zipapp and return its SHA-256, which changes only with the agent's code."""
    with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), _START)  # without today's date
        for file in sorted(_AGENT.rglob("*.py")):
            name = f"{_PACKAGE}/{file.relative_to(_AGENT).as_posix()}"
            archive.writestr(zipfile.ZipInfo(name), file.read_bytes())
    return files.sha256_of(path)
