"""Boards have Python 3.8 and numpy: the agent must not ask for more."""

import ast
import sys
from pathlib import Path

import pytest

AGENT = Path(__file__).parents[2] / "edgekd" / "agent"
FILES = sorted(AGENT.rglob("*.py"))
# Standard modules that are younger than 3.8.
YOUNGER = {"graphlib", "tomllib", "zoneinfo"}


def _imported(tree: ast.Module) -> set[str]:
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    return names | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_syntax_is_that_of_python_3_8(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_only_the_standard_library_and_numpy_are_imported(file: Path) -> None:
    allowed = (sys.stdlib_module_names - YOUNGER) | {"numpy"}
    if file.parent.name in {"engines", "cuda"}:
        allowed |= {file.stem.partition("_")[0]}  # an engine imports its own runtime
    assert _imported(ast.parse(file.read_text())) <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_annotations_are_not_evaluated(file: Path) -> None:
    # `list[int]` in a signature is an error in 3.8 unless annotations are postponed.
    tree = ast.parse(file.read_text())
    annotated = any(isinstance(node, ast.FunctionDef) for node in ast.walk(tree))
    postponed = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    )
    assert postponed or not annotated


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(AGENT)))
def test_neither_numpy_nor_a_runtime_is_imported_at_the_top(file: Path) -> None:
    # `probe` has to work on a board without them.
    top = ast.Module(
        body=[n for n in ast.parse(file.read_text()).body if isinstance(n, ast.Import)],
        type_ignores=[],
    )
    assert not _imported(top) & {"numpy", "onnxruntime", "tensorrt", "pycuda", "cuda"}
