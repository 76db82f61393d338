from pathlib import Path

import pytest

from edgekd.gate.place import Place


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[gate]\nsize_mib = { limit = 1 }\nsize_ratio = { limit = 1 }", 3),
        ("# size_ratio is next\n[gate.size_ratio]\nlimit = 1", 2),
        ("\ngate.size_ratio.limit = 1", 2),
        ('{\n  "gate": {\n    "size_ratio": {\n', 3),
        ("gate = { size_ratio = { limit = 1 } }", 1),
    ],
)
def test_a_rule_is_found_however_it_is_written(text: str, line: int) -> None:
    assert Place("x.toml", tuple(text.splitlines())).line("size_ratio") == line


def test_a_file_below_the_working_directory_is_named_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ci").mkdir()
    Path("ci/my rules.toml").write_text("[gate]")
    place = Place.read(tmp_path / "ci/my rules.toml")
    assert (place.file, place.uri()) == ("ci/my rules.toml", "ci/my%20rules.toml")


def test_a_file_elsewhere_is_named_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "rules.toml").write_text("[gate]")
    monkeypatch.chdir(tmp_path / "here")
    place = Place.read(Path("../rules.toml"))
    assert place.uri().startswith("file:///")
    assert place.uri().endswith("/rules.toml")
