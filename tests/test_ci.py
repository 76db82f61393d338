"""What is offered to CI services: each file fits its published schema, its steps run in bash."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml

from edgekd import __version__
from tests import builders
from tests.builders import Step
from tests.lint.graphs import sound

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / "docs/ci/github.yml").read_text())
PIPELINE = yaml.safe_load((ROOT / "docs/ci/gitlab.yml").read_text())
CONFIG = yaml.safe_load((ROOT / "docs/ci/pre-commit.yml").read_text())
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
INSTALL, GATE = ACTION["runs"]["steps"]
WORSE = {"onnx-int8": Step(lost=60, gained=6, bytes=110_000)}  # 5.4 pp below the teacher

Done = subprocess.CompletedProcess[str]


def bash(script: str, folder: Path, **environment: str) -> Done:
    """Run a step as GitHub's runner does, with the program of this environment."""
    given = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder), **environment}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, env=given, capture_output=True, text=True, check=False,
    )  # fmt: skip


def act(folder: Path, step: dict[str, Any], **inputs: str) -> Done:
    """Run a step of the action with these inputs; the others have their defaults."""
    values = {name: put.get("default", "") for name, put in ACTION["inputs"].items()} | inputs
    environment = {
        name: re.sub(r"\$\{\{ inputs\.(\w+) }}", lambda found: values[found[1]], text)
        for name, text in step.get("env", {}).items()
    }
    files = ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_PATH")
    runner = {name: str(folder / name) for name in files}
    return bash(
        step["run"],
        folder,
        GITHUB_ACTION_PATH=str(ROOT),
        RUNNER_TEMP=str(folder),
        **runner,
        **environment,
    )


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.github-actions", "action.yml"),
        ("vendor.github-workflows", "docs/ci/github.yml"),
        ("vendor.gitlab-ci", "docs/ci/gitlab.yml"),
    ],
)
def test_a_file_fits_its_published_schema(schema: str, path: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    spoilt = tmp_path / "spoilt.yml"
    spoilt.write_text((ROOT / path).read_text().replace("\n", "\nname: [1]\n", 1))
    for file, status in ((ROOT / path, 0), (spoilt, 1)):
        done = subprocess.run([*command, file], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("validate-manifest", ".pre-commit-hooks.yaml"),
        ("validate-config", "docs/ci/pre-commit.yml"),
    ],
)
def test_pre_commit_accepts_hook_and_example(command: str, path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", command, ROOT / path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_examples_name_what_there_is() -> None:
    (used,) = (
        step for step in WORKFLOW["jobs"]["gate"]["steps"] if "edgekd@" in step.get("uses", "")
    )
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert used["uses"].endswith(f"@v{__version__}")
    assert PIPELINE["gate"]["before_script"][0].endswith(f'@v{__version__}"')
    (repository,) = CONFIG["repos"]
    assert repository["rev"] == f"v{__version__}"
    assert [hook["id"] for hook in repository["hooks"]] == [HOOK["id"]]


def test_the_action_fails_a_run_that_fails_and_says_why(tmp_path: Path) -> None:
    builders.make_run(tmp_path / "run", artifacts=WORSE)
    done = act(tmp_path, GATE, run="run")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("::error title=edgekd gate%3A top1_drop_pp onnx-int8 failed,")
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == "verdict=failed\n"
    assert "### edgekd gate: failed" in (tmp_path / "GITHUB_STEP_SUMMARY").read_text()
    assert ET.parse(tmp_path / "edgekd-gate.xml").getroot().get("failures") == "1"
    assert (tmp_path / "edgekd-gate.sarif").is_file()


def test_the_action_hands_on_every_input_whatever_blanks_it_has(tmp_path: Path) -> None:
    builders.make_run(tmp_path / "-my run", artifacts=WORSE)
    bash('edgekd gate --baselines "b 1" --update -- "-my run"', tmp_path)
    (tmp_path / "my rules.toml").write_text("[gate]\nsize_baseline_ratio = { limit = 1 }\n")
    done = act(
        tmp_path, GATE, run="-my run", rules="my rules.toml", baselines="b 1",
        junit="my.xml", sarif="my.sarif",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == "verdict=passed\n"
    assert (tmp_path / "my.xml").is_file()
    assert (tmp_path / "my.sarif").is_file()


def test_an_input_is_never_a_command(tmp_path: Path) -> None:
    done = act(tmp_path, GATE, run="$(touch a); touch b", rules="`touch c`", junit='"; touch d')
    assert done.returncode == 2
    assert not [name for name in "abcd" if (tmp_path / name).exists()]
    assert done.stderr.startswith("::error title=edgekd gate::")
    for step in (INSTALL, GATE):
        assert "${{" not in step["run"]


def test_the_action_uses_an_edgekd_that_is_there(tmp_path: Path) -> None:
    done = act(tmp_path, INSTALL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_action_installs_edgekd_where_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    kept = {name: text for name, text in os.environ.items() if name.startswith("PIP_")}
    runner = {"RUNNER_TEMP": str(tmp_path), "GITHUB_PATH": str(tmp_path / "path")}
    done = bash(
        INSTALL["run"], tmp_path, GITHUB_ACTION_PATH=str(ROOT), **kept, **runner,
        PATH=f"{tmp_path}/bin:/usr/bin:/bin",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    added = (tmp_path / "path").read_text().strip()
    assert (
        bash("edgekd --version", tmp_path, PATH=f"{added}:/bin").stdout == f"edgekd {__version__}\n"
    )


@pytest.mark.parametrize(
    ("status", "expected"), [(0, 0), (1, 0), (3, 0), (2, 2), (4, 4), (70, 70), (130, 130)]
)
def test_the_workflow_goes_on_after_a_verdict_and_after_nothing_else(
    tmp_path: Path, status: int, expected: int
) -> None:
    program = tmp_path / "edgekd"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = "run recipe.toml --out run" ] || exit 99\nexit {status}\n'
    )
    program.chmod(0o755)
    (measure,) = (step for step in WORKFLOW["jobs"]["measure"]["steps"] if "run" in step)
    done = bash(measure["run"], tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == expected


def test_gitlab_lets_the_same_verdicts_through() -> None:
    assert PIPELINE["measure"]["allow_failure"]["exit_codes"] == [1, 3]
    assert "allow_failure" not in PIPELINE["gate"]


def test_gitlabs_job_writes_what_it_keeps(tmp_path: Path) -> None:
    builders.make_run(tmp_path / "run", artifacts=WORSE)
    (tmp_path / "release.toml").write_text("[gate]\ntop1_drop_pp = { margin = 2 }\n")
    job = PIPELINE["gate"]
    assert bash("\n".join(job["script"]), tmp_path).returncode == 1
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert all((tmp_path / name).is_file() for name in kept)


def test_the_hook_refuses_the_file_that_tensorrt_would(tmp_path: Path) -> None:
    good, bad = sound().model(), sound().put("c1.x.zero", 3, np.int8).model()
    (tmp_path / "good.onnx").write_bytes(good.SerializeToString())
    (tmp_path / "bad one.onnx").write_bytes(bad.SerializeToString())
    (tmp_path / "notes.txt").write_text("no model")
    ((hook,),) = (repository["hooks"] for repository in CONFIG["repos"])
    here = {**HOOK, **hook, "language": "system"}  # else pre-commit installs edgekd anew
    config = {"repos": [{"repo": "local", "hooks": [here]}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    script = "git init -q . && git add good.onnx notes.txt && pre-commit run --all-files"
    home = str(tmp_path / "home")
    passed = bash(script, tmp_path, PRE_COMMIT_HOME=home)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    failed = bash(f"git add . && {script}", tmp_path, PRE_COMMIT_HOME=home)
    assert failed.returncode == 1
    assert "bad one.onnx: 2 errors" in failed.stdout
