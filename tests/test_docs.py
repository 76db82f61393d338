"""The generated pages are up to date, and the README's links lead somewhere."""

import ast
import builtins
import importlib.util
import re
import symtable
from pathlib import Path
from types import ModuleType

import pytest

from edgekd.core import plugins

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_about_recipes_is_what_the_specs_say(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "recipes.md").read_text() == generate.recipes()


def test_the_page_about_commands_is_what_help_prints(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == generate.commands()


def test_the_page_about_lint_is_what_the_rules_say(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "lint.md").read_text() == generate.lint()


def test_the_page_about_platforms_is_what_their_files_say(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "platforms.md").read_text() == generate.platforms()


def test_the_page_about_power_modes_is_what_the_profiles_say(generate: ModuleType) -> None:
    assert (ROOT / "docs" / "power-modes.md").read_text() == generate.power_modes()


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)  # fmt: skip
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", ["python", "own"])
def test_python_in_the_docs_can_be_copied_as_it_stands(page: str) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    assert snippets
    for code in snippets:
        table = symtable.symtable(code, page, "exec")
        bound = {name.get_name() for name in table.get_symbols() if name.is_assigned()}
        bound |= {name.get_name() for name in table.get_symbols() if name.is_imported()}
        read = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        local = {name for child in table.get_children() for name in child.get_identifiers()}
        assert read <= bound | local | set(dir(builtins))
        imports = [node for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), page, "exec"), {})


def test_the_readme_s_ladder_is_the_committed_one() -> None:
    block = re.findall(r"```text\n(stage .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    whole = (ROOT / "benchmarks/results/cifar10-resnet56.txt").read_text().splitlines()
    assert block
    assert set(block[0].splitlines()) <= set(whole)


def test_the_page_about_methods_lists_each_with_its_names_and_evidence() -> None:
    rows = {}
    for line in (ROOT / "docs" / "methods.md").read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 6:
            rows[cells[0]] = (cells[1], cells[4])
    for found in plugins.summaries("edgekd.distill.methods"):
        also = ", ".join(found.constants.get("ALIASES", ()))
        assert rows[found.name] == (also, found.constants["EVIDENCE"])
