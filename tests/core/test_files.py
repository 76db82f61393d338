import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from edgekd.core import files
from edgekd.core.errors import EnvironmentMissingError


def test_the_old_file_gives_place_to_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    files.write_bytes(path, b"\x00new")
    assert path.read_bytes() == b"\x00new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "Größe µ")
    assert (tmp_path / "file").read_bytes() == "Größe µ".encode()


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "file", "x")
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_others_may_read_the_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["file/x", "folder", "n" * 300, "loop/x", "/proc/nowhere/x"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(EnvironmentMissingError, match="cannot be written"):
        files.check_place(tmp_path / name)


def test_asking_for_a_place_leaves_an_old_file_as_it_is(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "old")
    files.check_place(tmp_path / "file")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def write_half(path: Path, fault: BaseException) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        raise fault


@pytest.mark.parametrize(
    "fault", [ValueError("mine"), KeyboardInterrupt(), OSError(errno.EIO, "io")]
)
def test_a_fault_leaves_the_old_file_and_no_rubbish(tmp_path: Path, fault: BaseException) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(type(fault)):
        write_half(path, fault)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    message = r"'.*file' is full: free some space"
    with pytest.raises(EnvironmentMissingError, match=message), files.replacing(path):
        Path("/dev/full").write_bytes(b"x" * 100)  # Linux's device of a disk without space
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["mkdir", "mkstemp"])
def test_a_disk_that_is_full_from_the_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path if call == "mkdir" else files.tempfile, call, full)
    with pytest.raises(EnvironmentMissingError, match=r"is full"):
        files.write_text(tmp_path / "a" / "file", "x")


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EnvironmentMissingError, match=r"file/report.html' cannot be written: "):
        files.write_text(tmp_path / "file" / "report.html", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EnvironmentMissingError, match=r"folder' cannot be written: "):
        files.write_text(tmp_path / "folder", "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert files.sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_folder_that_cannot_be_made_is_the_environment_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentMissingError, match="Not a directory; name another place"):
        files.make_folder(tmp_path / "file" / "runs")


def test_a_folder_that_must_be_new_is_not_shared(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "1", new=True)
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "1", new=True)
    files.make_folder(tmp_path / "1")
