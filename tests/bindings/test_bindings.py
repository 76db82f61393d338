"""The facts, the stand-in and our calls against NVIDIA's bindings: `make test-bindings`.

Downloads four wheels; deselected by default.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bindings import real
from tests.standins.standin import FACTS, HERE

pytestmark = pytest.mark.bindings
TOGETHER = {"progress_monitor": "IProgressMonitor"}  # who has one has the other
AGENT = Path(__file__).parents[2] / "edgekd" / "agent"
CALLERS = (*sorted((AGENT / "engines").glob("tensorrt*.py")), AGENT / "timing_cache.py")


def facts_of(version: str) -> Any:
    return json.loads((FACTS / f"trt_api_{version}.json").read_text())


@pytest.fixture(scope="module", params=real.WHEELS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real.install(version, tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def surface(path: Path) -> Any:
    return real.ask("surface.py", path)


def test_the_facts_are_what_the_bindings_have(version: str, surface: Any) -> None:
    facts = facts_of(version)
    assert {*facts["functions"], *facts["classes"]} <= set(surface["names"])
    for name, members in facts["classes"].items():
        found = {member: surface["classes"][name].get(member) for member in members}
        assert found == members, name
    assert {name: surface["enums"][name] for name in facts["enums"]} == facts["enums"]


def test_what_the_facts_leave_out_is_missing(version: str, surface: Any) -> None:
    facts, others = facts_of(version), [facts_of(other) for other in real.WHEELS]
    for name in {name for other in others for name in other["classes"]}:
        members = {one for other in others for one in other["classes"].get(name, ())}
        missing = members - set(facts["classes"].get(name, ()))
        assert not missing & set(surface["classes"].get(name, ())), name
    enums = {name for other in others for name in other["enums"]}
    assert not (enums - set(facts["enums"])) & set(surface["enums"])


def test_the_stand_in_behaves_as_the_bindings(version: str, path: Path) -> None:
    expected = real.ask("behaviour.py", path)
    found = real.ask("behaviour.py", HERE, EDGEKD_STANDIN_TRT=version)
    assert len(expected) > 60
    assert found == expected


def chains(tree: ast.Module) -> Iterator[list[str]]:
    """Yield what stands behind the module: ``trt.A.B`` and ``self._trt.A`` are A, B and A."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found = re.fullmatch(r"(?:self\._)?trt\.([\w.]+)", ast.unparse(node))
            if found:
                yield found[1].split(".")


def guarded(tree: ast.Module) -> set[str]:
    """Return the names that the code asks for before it uses them, and what came with these."""
    asked = {
        node.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"hasattr", "getattr"}
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return asked | {member for member, name in TOGETHER.items() if name in asked}


@pytest.mark.parametrize("file", CALLERS, ids=lambda file: file.name)
def test_what_we_call_exists(surface: Any, file: Path) -> None:
    tree = ast.parse(file.read_text())
    maybe = guarded(tree)
    for name, *rest in chains(tree):
        assert name in {*surface["names"], *maybe}, name
        for part in rest[:1] if name in surface["names"] else ():
            assert part in {*surface["kinds"][name], *maybe}, f"{name}.{part}"
    known = {member for kind in surface["kinds"].values() for member in kind}
    theirs = {
        member
        for version in real.WHEELS
        for name, members in facts_of(version)["classes"].items()
        for member in members
        if not name.startswith("IStream")  # read, write and seek are Python's too
    }
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & theirs
    assert used <= known | maybe, used - known - maybe


def test_the_callers_were_found() -> None:
    assert len(CALLERS) >= 2
    assert all(file.is_file() for file in CALLERS)
    calls = [chain for file in CALLERS for chain in chains(ast.parse(file.read_text()))]
    assert ["OnnxParser"] in calls
