from pathlib import Path

import pytest

from edgekd.core import catalogue
from edgekd.core.errors import UsageError


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_built_in_names_are_the_files_in_the_folder() -> None:
    assert "digits" in catalogue.names("recipes")
    assert catalogue.names("recipes") == sorted(catalogue.names("recipes"))
    for kind in ("recipes", "export", "profiles"):
        for name in catalogue.names(kind):
            assert catalogue.locate(kind, name).is_file()


@pytest.mark.parametrize("kind", ["recipes", "export", "profiles"])
def test_every_built_in_file_is_toml(kind: catalogue.Kind) -> None:
    for name in catalogue.names(kind):
        assert catalogue.read(kind, name)


def test_the_working_directory_is_not_searched(elsewhere: Path) -> None:
    (elsewhere / "mine.toml").write_text("")
    (elsewhere / "mine").write_text("")
    with pytest.raises(UsageError, match=r"no recipe is called 'mine'.*here say 'mine\.toml'"):
        catalogue.locate("recipes", "mine")


def test_a_name_that_ends_in_toml_is_a_path_even_if_it_is_built_in(elsewhere: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no recipe file 'digits\.toml'"):
        catalogue.locate("recipes", "digits.toml")
    (elsewhere / "digits.toml").write_text("mine = 1")
    assert catalogue.read("recipes", "digits.toml") == {"mine": 1}


@pytest.mark.parametrize("name", ["../recipes/digits", "", "/etc/passwd", "digits/"])
def test_a_built_in_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageError, match=r"no recipe is called"):
        catalogue.locate("recipes", name)


def test_a_near_name_is_offered_and_the_kind_is_named() -> None:
    with pytest.raises(UsageError, match=r"no recipe is called 'digit'. Did you mean 'digits'"):
        catalogue.locate("recipes", "digit")
    with pytest.raises(UsageError, match=r"no export target is called"):
        catalogue.locate("export", "no-such-thing")
    with pytest.raises(UsageError, match=r"no device is called"):
        catalogue.locate("profiles", "no-such-thing")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a = 1\nb = \n", "line 2"), (b"a = '\xff'", "utf-8"), (b"a = 1\na = 2\n", "line 2")],
)
def test_a_file_that_is_no_toml_is_named_with_the_line(
    elsewhere: Path, content: bytes, message: str
) -> None:
    (elsewhere / "mine.toml").write_bytes(content)
    with pytest.raises(UsageError, match=rf"'mine\.toml' is not valid TOML: .*{message}"):
        catalogue.read("recipes", "mine.toml")


def test_a_folder_called_like_a_file_is_no_file(elsewhere: Path) -> None:
    (elsewhere / "mine.toml").mkdir()
    with pytest.raises(UsageError, match=r"there is no recipe file"):
        catalogue.locate("recipes", "mine.toml")


def test_a_wheels_own_folder_goes_before_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "edgekd" / "core" / "catalogue.py"
    monkeypatch.setattr(catalogue, "__file__", str(module))
    assert catalogue.folder("export") == tmp_path / "export"
    assert catalogue.folder("recipes") == tmp_path / "edgekd" / "recipes"
    (tmp_path / "edgekd" / "_data" / "export").mkdir(parents=True)
    assert catalogue.folder("export") == tmp_path / "edgekd" / "_data" / "export"
