import sys
from pathlib import Path

import pytest

from edgekd.core import user_code
from edgekd.core.errors import UsageError

EXAMPLE = "package.module:build"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a module of the working directory, which alone can find it."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text("def build(): return 7\nsize = 3\n")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_of_the_working_directory_is_found_and_the_path_left_as_it_was(
    here: str,
) -> None:
    before = list(sys.path)
    with user_code.working_directory():
        assert user_code.find(f"{here}:build", EXAMPLE)() == 7
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{}:biuld", r"has no function 'biuld'. Did you mean 'build'"),
        ("{}:size", "has no function 'size'"),
        ("no_such_module:build", "importing 'no_such_module' failed"),
        ("os.path:join", "is part of Python; expected package.module:build"),
    ],
)
def test_what_is_no_function_of_the_users_is_refused(here: str, name: str, message: str) -> None:
    with user_code.working_directory(), pytest.raises(UsageError, match=message):
        user_code.find(name.format(here), EXAMPLE)
