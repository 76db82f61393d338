"""Find what is built in: recipes, export targets, devices, platforms. A built-in is a TOML file.

One look-up rule, everywhere: a name that ends in ``.toml`` is a path; any other is built in; the
working directory is never searched.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from edgekd.core.errors import UsageError, did_you_mean

Kind = Literal["recipes", "export", "profiles", "profiles/platforms"]

_NOUNS: dict[Kind, str] = {
    "recipes": "recipe",
    "export": "export target",
    "profiles": "device",
    "profiles/platforms": "platform",
}
assert set(_NOUNS) == set(get_args(Kind))


def folder(kind: Kind) -> Path:
    """Return the folder that holds the built-in files of ``kind``."""
    package = Path(__file__).parents[1]
    if kind == "recipes":
        return package / "recipes"
    packaged = package / "_data" / kind  # a wheel
    return packaged if packaged.is_dir() else package.parent / kind  # a checkout


def names(kind: Kind) -> list[str]:
    """Return the sorted names of the built-in files of ``kind``."""
    return sorted(path.stem for path in folder(kind).glob("*.toml"))


def locate(kind: Kind, name: str) -> Path:
    """Return the path of a built-in, or of the user's own file if ``name`` ends in ``.toml``.

    Raises:
        UsageError: there is no such built-in, or no such file.
    """
    noun = _NOUNS[kind]
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"there is no {noun} file '{name}'")
        return path
    if name not in names(kind):
        own = Path(f"{name}.toml")
        if own.is_file():
            raise UsageError(f"no {noun} is called '{name}'. For the file here say '{own}'")
        hint = did_you_mean(name, names(kind))
        raise UsageError(f"no {noun} is called '{name}'.{hint} A file's name must end in .toml.")
    return folder(kind) / f"{name}.toml"


def read(kind: Kind, name: str) -> dict[str, Any]:
    """Parse the TOML file that ``name`` stands for.

    Raises:
        UsageError: it does not exist, is not UTF-8 or is not TOML; the line is named.
    """
    path = locate(kind, name)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is not valid TOML: {error}") from error
