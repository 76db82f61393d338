"""What `edgekd run` says and leaves behind when a recipe cannot be followed."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from edgekd.core import run_folder
from edgekd.core.errors import DeviceError
from edgekd.core.run_folder import Run
from edgekd.pipeline import run as job
from tests import builders

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "override",
    [
        "stages.1.methods=[{name='fdkdd'}]",
        "student.prune.criterion=l3",
        "stages.1.prune={criterion='l3'}",
        "export.calibrator=entropie",
        "export.targets=['onnx-fp23']",
        "export.platform=jp6.1",
    ],
)
def test_the_plan_refuses_a_name_that_nothing_has(edgekd: Command, override: str) -> None:
    status, out, err = edgekd("run", "digits", "--plan", "--set", override)
    assert (status, out) == (2, "")
    assert " is called '" in err


def test_a_recipe_that_cannot_be_followed_takes_no_number(edgekd: Command, elsewhere: Path) -> None:
    status, _, err = edgekd("run", "digits", "--set", "profile.device=line-3")
    assert status == 2
    assert "no device is called 'line-3'" in err
    assert "go on with" not in err
    assert list((elsewhere / "runs" / "digits").iterdir()) == []


def test_a_run_that_was_stopped_says_how_to_go_on_with_the_same_recipe(
    edgekd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_board(_: object, folder: Path, **__: object) -> NoReturn:
        (folder / "recipe.json").write_text("{}")
        raise DeviceError("lost")

    monkeypatch.setattr(job, "run", lose_the_board)
    status, _, err = edgekd("run", "digits", "--set", "description=for a test", "--confirm")
    assert status == 4
    assert err.splitlines()[1] == (
        "go on with: edgekd run digits '--set=description=for a test' --set=profile.confirm=true "
        "--out runs/digits/1 --resume"
    )


def test_a_file_whose_ending_was_left_out_is_offered(edgekd: Command, elsewhere: Path) -> None:
    (elsewhere / "mine.toml").write_text("")
    status, _, err = edgekd("run", "mine")
    assert status == 2
    assert err == "error: no recipe is called 'mine'. For the file here say 'mine.toml'\n"


def test_a_run_ends_with_the_hash_that_finds_out_who_changes_everything(
    edgekd: Command, monkeypatch: pytest.MonkeyPatch, elsewhere: Path
) -> None:
    def finish(_: object, folder: Path, **__: object) -> Run:
        return run_folder.read(builders.seal(builders.conclude(builders.make_run(folder))))

    monkeypatch.setattr(job, "run", finish)
    status, _, err = edgekd("run", "digits", "--out", "a")
    noted = err.splitlines()[-1].removeprefix("SHA-256 of manifest.json: ")
    assert status == 0
    assert edgekd("verify", "a", "--sha256", noted)[0] == 0
    with (elsewhere / "a" / "manifest.json").open("a") as file:
        file.write(" ")
    assert edgekd("verify", "a", "--sha256", noted)[0] == 2
