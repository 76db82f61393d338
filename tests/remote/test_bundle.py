import zipfile
from pathlib import Path

from edgekd.remote import bundle


def test_two_bundles_of_the_same_code_are_the_same_bytes(tmp_path: Path) -> None:
    assert bundle.write(tmp_path / "one.pyz") == bundle.write(tmp_path / "two.pyz")


def test_a_bundle_holds_every_file_of_the_agent_and_nothing_else(tmp_path: Path) -> None:
    bundle.write(tmp_path / "agent.pyz")
    agent = Path(bundle.__file__).parents[1] / "agent"
    files = {f"edgekd_agent/{file.relative_to(agent)}" for file in agent.rglob("*.py")}
    assert set(zipfile.ZipFile(tmp_path / "agent.pyz").namelist()) == files | {"__main__.py"}
