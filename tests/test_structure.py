"""The rules of CONTRIBUTING.md that a machine can check, over every file of the package.

What the agent may import and which syntax it may use is checked in tests/agent.
"""

import ast
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "edgekd").rglob("*.py"))
VERBS = (
    "prune", "quantize", "distill", "export", "lint", "evaluate", "profile", "gate", "report",
    "search", "landscape",
)  # fmt: skip
FLOORS = {
    "agent": 0,
    "core": 1,
    "models": 2,
    "data": 2,
    "remote": 2,
    **dict.fromkeys(VERBS, 3),
    "pipeline": 4,
    "cli": 5,
    "__main__": 6,
}
LINES = 320
HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "sklearn", "PIL", "scipy.stats", "timm")
TRAINING = ("torch", "torchvision", "sklearn", "PIL", "timm", "accelerate", "torch_pruning")
# What works in a base installation, which has none of the packages above.
BASE = ("agent", "core", "remote", "gate", "report", "profile", "lint", "evaluate", "cli", "data")
NEEDS_TORCH = {"edgekd.data.augment", "edgekd.data.strong"}

PICKLE = {"edgekd.data.unpickle": {"Unpickler", "UnpicklingError"}}
# Whatever runs what it reads, uses the network, or is not under a permissive licence.
FORBIDDEN = (
    *("dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("requests", "httpx", "huggingface_hub", "ftplib", "urllib.request", "http.client"),
    "jtop",
)

Offences = Callable[[ast.Module, str], Iterator[str]]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}


def imports(tree: ast.Module, module: str) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it; relative ones resolved."""
    is_package = module in MODULES and MODULES[module].stem == "__init__"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def floor_offences(tree: ast.Module, module: str) -> Iterator[str]:
    mine = package_of(module)
    for name in imports(tree, module):
        theirs = package_of(name)
        if not name.startswith("edgekd.") or theirs == mine or theirs not in FLOORS:
            continue
        # The second floor's packages may use each other, but not in a circle.
        below = FLOORS[theirs] < FLOORS[mine] or FLOORS[theirs] == FLOORS[mine] == 2
        if not below or mine == "agent":
            yield f"{module} (floor {FLOORS[mine]}) imports {name} (floor {FLOORS[theirs]})"


def print_offences(tree: ast.Module, module: str) -> Iterator[str]:
    if package_of(module) in {"cli", "report", "agent"}:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "rich.print"}:
            yield f"{module}:{node.lineno} prints"


def danger_offences(tree: ast.Module, module: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if (
                called in {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
                or called.endswith(("pickle.load", "pickle.loads", "marshal.loads", "yaml.load"))
                or given.get("shell", "False") != "False"
                or (called == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle", "False") != "False"
                or given.get("trust_remote_code", "False") != "False"
            ):
                yield f"{module}:{node.lineno} calls {called}({given or ''})"
        # Its error is what torch.load raises; its reader may only be the restricted one.
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == "pickle"
            and node.attr not in PICKLE.get(module, {"UnpicklingError"})
        ):
            yield f"{module}:{node.lineno} uses pickle.{node.attr}"
    for name in imports(tree, module):
        if name.startswith(("pickle.", *(f"{word}." for word in FORBIDDEN))) or name in FORBIDDEN:
            yield f"{module} imports {name}"


def catch_offences(tree: ast.Module, module: str) -> Iterator[str]:
    # The root of the program, which ends with 70; and a fleet, of which one cell is lost, with 70.
    if module in {"edgekd.cli.main", "edgekd.profile.fleet"}:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            again = any(isinstance(part, ast.Raise) for part in ast.walk(node))
            if caught in {"everything", "Exception", "BaseException"} and not again:
                yield f"{module}:{node.lineno} catches {caught}"


RULES = [floor_offences, print_offences, danger_offences, catch_offences]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks_the_rule(rule: Offences) -> None:
    assert not [fault for module, tree in TREES.items() for fault in rule(tree, module)]


@pytest.mark.parametrize(
    ("rule", "module", "code"),
    [
        (floor_offences, "edgekd.core.x", "from edgekd.data import sources"),
        (floor_offences, "edgekd.core.x", "def f():\n    import edgekd.cli.main"),
        (floor_offences, "edgekd.gate.x", "from edgekd import report"),
        (floor_offences, "edgekd.gate.x", "from ..report import html"),
        (floor_offences, "edgekd.distill.x", "from edgekd.prune.channels import prune"),
        (floor_offences, "edgekd.agent.x", "from edgekd.core import errors"),
        (floor_offences, "edgekd.pipeline.x", "from edgekd.cli import console"),
        (print_offences, "edgekd.gate.x", "print(1)"),
        (danger_offences, "edgekd.core.x", "eval('1')"),
        (danger_offences, "edgekd.core.x", "import pickle\npickle.Unpickler(f)"),
        (danger_offences, "edgekd.core.x", "from pickle import load"),
        (danger_offences, "edgekd.core.x", "import joblib"),
        (danger_offences, "edgekd.data.unpickle", "import pickle\npickle.load(f)"),
        (danger_offences, "edgekd.core.x", "subprocess.run('ls', shell=True)"),
        (danger_offences, "edgekd.core.x", "torch.load(path)"),
        (danger_offences, "edgekd.core.x", "torch.load(path, weights_only=False)"),
        (danger_offences, "edgekd.core.x", "np.load(path, allow_pickle=True)"),
        (danger_offences, "edgekd.core.x", "from urllib import request"),
        (catch_offences, "edgekd.core.x", "try:\n  f()\nexcept Exception:\n  pass"),
        (catch_offences, "edgekd.core.x", "try:\n  f()\nexcept:\n  pass"),
    ],
)
def test_the_rule_sees_an_offence(rule: Offences, module: str, code: str) -> None:
    assert list(rule(ast.parse(code), module))


@pytest.mark.parametrize(
    ("rule", "module", "code"),
    [
        (floor_offences, "edgekd.models.x", "from edgekd.data.augment import normalise"),
        (floor_offences, "edgekd.gate.x", "from edgekd.gate import rules\nfrom edgekd import core"),
        (floor_offences, "edgekd.agent.engines.x", "from ..timing import now\nfrom . import y"),
        (danger_offences, "edgekd.core.x", "torch.load(path, weights_only=True)"),
        (danger_offences, "edgekd.core.x", "np.load(path, allow_pickle=False)\nmodel.eval()"),
        (danger_offences, "edgekd.core.x", "import pickle\nKIND = pickle.UnpicklingError"),
        (catch_offences, "edgekd.core.x", "try:\n  f()\nexcept BaseException:\n  raise"),
    ],
)
def test_the_rule_lets_pass_what_is_allowed(rule: Offences, module: str, code: str) -> None:
    assert not list(rule(ast.parse(code), module))


def test_every_package_has_its_floor() -> None:
    assert {package_of(module) for module in MODULES} - {"edgekd"} <= set(FLOORS)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the nodes that lie on a circle or between two of them: none, if there is no circle."""
    left = {node: set(targets) for node, targets in graph.items()}
    while ends := [node for node, targets in left.items() if not targets & set(left)]:
        for node in ends:
            del left[node]
    while starts := set(left) - {target for targets in left.values() for target in targets}:
        for node in starts:
            del left[node]
    return sorted(left)


def test_the_search_for_circles_finds_one() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(tree, module) if name in MODULES and name != module}
        for module, tree in TREES.items()
    }
    # `from edgekd.core import specs` names the package too, which is empty but for registries.
    plain = {
        module: {name for name in names if MODULES[name].stem != "__init__" or TREES[name].body[1:]}
        for module, names in graph.items()
    }
    assert circle(plain) == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FLOORS}
    for module, tree in TREES.items():
        mine = package_of(module)
        theirs = {package_of(name) for name in imports(tree, module) if name.startswith("edgekd.")}
        graph.setdefault(mine, set()).update(theirs & set(FLOORS) - {mine})
    assert circle(graph) == []


def test_no_file_is_long() -> None:
    lengths = {
        module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()
    }
    assert {module: length for module, length in lengths.items() if length > LINES} == {}


def test_no_comment_puts_work_off_or_names_a_place_on_somebodys_machine() -> None:
    found = []
    for module, path in MODULES.items():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type in {tokenize.COMMENT, tokenize.STRING}:
                    words = ("TODO", "FIXME", "XXX", "/home/", "/Users/")
                    found += [
                        f"{module}:{token.start[0]}" for word in words if word in token.string
                    ]
    assert found == []


def test_every_package_can_be_imported_as_one() -> None:
    folders = {path.parent for path in FILES}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    run(
        "import sys, edgekd.cli.main\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )


def test_a_base_installation_can_import_what_it_promises() -> None:
    modules = [
        module
        for module in MODULES
        if package_of(module) in BASE
        and module not in NEEDS_TORCH
        and "__main__" not in module
        and MODULES[module].parent.name != "engines"  # they import their runtimes when opened
    ]
    run(
        "import sys, importlib\n"
        f"sys.modules.update(dict.fromkeys({TRAINING}))\n"  # None: importing it fails
        f"for name in {modules}: importlib.import_module(name)"
    )
