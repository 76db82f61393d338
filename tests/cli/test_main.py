"""The command line's promises: exit status, streams, light start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "init", "run", "prune", "quantize", "finetune", "calibration", "export", "lint", "evaluate",
    "diff", "sensitivity", "profile", "explain-int8", "landscape", "gate", "report",
    "compare", "verify", "reproduce", "package", "list", "doctor",
]  # fmt: skip
HEAVY = ["torch", "torchvision", "onnx", "onnxruntime", "sklearn", "PIL", "scipy", "pydantic"]


def edgekd(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, NO_COLOR="1", COLUMNS="100")
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment,
    )  # fmt: skip


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_list_of_commands_grows_only_on_purpose() -> None:
    overview = edgekd("--help").stdout.partition("Commands:")[2]
    shown = [
        line.split()[0]
        for line in overview.splitlines()
        if line.startswith("  ") and line[2].isalpha()
    ]
    assert [name for name in shown if name in COMMANDS] == COMMANDS
    assert "Exit" in shown
    assert len(shown) == len(COMMANDS) + 1 + 2  # and the epilog's three lines


def test_an_example_in_help_can_be_copied_line_by_line() -> None:
    lines = edgekd("finetune", "--help").stdout.splitlines()
    start = lines.index("  Example:") + 1
    words = " ".join(lines[start : start + 3]).replace("\\", "").split()
    assert words[:2] == ["edgekd", "finetune"]
    assert "--teacher-weights" in words
    assert words[-2:] == ["--out", "student"]


def test_no_line_of_the_overview_is_cut_short() -> None:
    assert "..." not in edgekd("--help").stdout.partition("Commands:")[2]


def test_the_command_line_imports_nothing_heavy() -> None:
    loaded = modules_after("import edgekd.cli.main")
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "what", ["methods", "criteria", "calibrators", "recipes", "targets", "models", "sources"]
)
def test_listing_imports_nothing_heavy(what: str) -> None:
    statement = (
        "from edgekd.cli.commands import list as command\n"
        f"command.command(command.What.{what}, json=True)"
    )
    assert not modules_after(statement) & (set(HEAVY) - {"pydantic"})


def test_list_prints_json_that_names_each_method() -> None:
    rows = json.loads(edgekd("list", "methods", "--json").stdout)
    assert {"kd", "fdkd"} <= {row["name"] for row in rows}
    assert all(row["summary"] and row["evidence"] for row in rows)


def test_every_recipe_has_a_description() -> None:
    rows = json.loads(edgekd("list", "recipes", "--json").stdout)
    assert {"digits", "cifar10-resnet56"} <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)


def test_version_is_that_of_the_package() -> None:
    from edgekd import __version__

    assert edgekd("--version").stdout == f"edgekd {__version__}\n"


def test_an_unknown_recipe_is_the_users_mistake_and_the_near_one_is_named() -> None:
    done = edgekd("run", "digit")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no recipe is called 'digit'. Did you mean 'digits'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_is_refused_with_the_near_one() -> None:
    done = edgekd("run", "digits", "--set", "data.bach_size=3")
    assert done.returncode == 2
    assert "data.bach_size: unknown key. Did you mean 'batch_size'?" in done.stderr


def test_a_wrong_type_is_refused_with_what_was_found() -> None:
    done = edgekd("run", "digits", "--set", "stages.0.epochs=many")
    assert done.returncode == 2
    assert "stages.0.epochs: Input should be a valid integer" in done.stderr
    assert "found 'many'" in done.stderr


def test_an_unknown_option_ends_with_status_2() -> None:
    assert edgekd("run", "digits", "--frobnicate").returncode == 2


def test_plan_shows_the_steps_and_writes_nothing(tmp_path: Path) -> None:
    done = edgekd("run", "digits", "--plan", cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("teacher: digits_resnet, trained here")
    assert any(line.startswith("deep: ") and "fdkd" in line for line in lines)
    assert lines[-2:] == ["gate", "report"]
    assert list(tmp_path.iterdir()) == []


def test_the_plan_can_be_piped() -> None:
    done = edgekd("run", "digits", "--plan", "--confirm", "--json")
    assert json.loads(done.stdout)[-3:] == ["profile: host-cpu, twice", "gate", "report"]


def test_an_internal_fault_keeps_its_traceback_and_ends_with_70() -> None:
    code = (
        "import sys\nfrom edgekd.cli import main\n"
        "def broken(*a, **k): raise RuntimeError('planted')\n"
        "main.app = broken\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "RuntimeError: planted" in done.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [("UsageError", 2), ("InconclusiveError", 3), ("DeviceError", 4), ("ExportError", 5)],
)
def test_each_error_has_its_status(error: str, status: int) -> None:
    code = (
        "from edgekd.cli import main\nfrom edgekd.core import errors\n"
        f"def broken(*a, **k): raise errors.{error}('planted')\n"
        "main.app = broken\nmain.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr == "error: planted\n"


def test_init_writes_a_recipe_that_is_valid(tmp_path: Path) -> None:
    done = edgekd("init", "--out", "mine.toml", "--weights", "w.pth", cwd=tmp_path)
    assert done.returncode == 0
    plan = edgekd("run", "mine.toml", "--plan", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert "torchvision:resnet18" in plan.stdout


def test_init_lines_up_its_comments_and_tells_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    options = ("--model", "mine:build", "--weights", "w.pth", "--data", "folder:cats")
    done = edgekd("init", *options, cwd=tmp_path)
    assert "note: 'cats' is not there yet" in done.stderr
    assert "w.pth" not in done.stderr
    text = (tmp_path / "recipe.toml").read_text()
    keys = ("model = ", "weights = ", "source = ", "image_size = ", "augment = ", "criterion = ")
    lines = [line for line in text.splitlines() if line.startswith(keys)]
    assert [line.index("#") for line in lines] == [37] * len(keys)


def test_init_keeps_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    assert edgekd("init", "--out", "mine.toml", cwd=tmp_path).returncode == 2
    assert (tmp_path / "mine.toml").read_text() == "precious"


def test_init_survives_names_that_need_quotes(tmp_path: Path) -> None:
    import tomllib

    done = edgekd("init", "--data", 'folder:my "best" \\ images', "--out", "a.toml", cwd=tmp_path)
    assert done.returncode == 0
    tree = tomllib.loads((tmp_path / "a.toml").read_text())
    assert tree["data"]["source"] == 'folder:my "best" \\ images'


def test_doctor_names_the_mend_for_each_missing_thing() -> None:
    rows = json.loads(edgekd("doctor", "--json", "--no-gpu").stdout)
    assert {row["name"] for row in rows} >= {"machine", "torch", "onnxruntime", "C++ compiler"}
    assert all(row["state"] in {"ok", "missing"} and row["summary"] for row in rows)
