import zipfile
from pathlib import Path

from edgekd.remote import bundle


def test_a_bundle_depends_on_the_code_alone_and_not_on_the_day(tmp_path: Path) -> None:
    assert bundle.write(tmp_path / "one.pyz") == bundle.write(tmp_path / "two.pyz")
    dates = {entry.date_time for entry in zipfile.ZipFile(tmp_path / "one.pyz").infolist()}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_a_bundle_holds_every_file_of_the_agent_and_nothing_else(tmp_path: Path) -> None:
    bundle.write(tmp_path / "agent.pyz")
    agent = Path(bundle.__file__).parents[1] / "agent"
    files = {f"edgekd_agent/{file.relative_to(agent)}" for file in agent.rglob("*.py")}
    assert set(zipfile.ZipFile(tmp_path / "agent.pyz").namelist()) == files | {"__main__.py"}
