from pathlib import Path

import pytest

from edgekd.agent import linux


def test_a_text_comes_without_the_zeros_and_line_ends_around_it(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson\0\n")
    assert linux.text(str(tmp_path), "model") == "NVIDIA Jetson"


def test_a_number_may_be_negative(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("-256000\n")
    assert linux.number(str(tmp_path / "temp")) == -256000


@pytest.mark.parametrize("content", ["", "12 mW", "nan"])
def test_what_is_no_number_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "temp").write_text(content)
    assert linux.number(str(tmp_path / "temp")) is None


def test_a_file_that_is_missing_or_does_not_answer_has_no_text(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()  # reading it fails as a sensor that is switched off does
    assert linux.text(str(tmp_path / "gone")) is None
    assert linux.text(str(tmp_path / "folder")) is None
