import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.agent import landing
from edgekd.remote import bundle
from tests import nets

ROOT = Path(__file__).parents[2]


def agent(
    *arguments: str, start: tuple[str, ...] = ("-m", "edgekd.agent"), cwd: Path = ROOT
) -> tuple[int, list[dict[str, Any]]]:
    found = subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, text=True, check=False, cwd=cwd
    )
    return found.returncode, [json.loads(line) for line in found.stdout.splitlines()]


def mute(*_: Any, **__: Any) -> None:
    """Tell nobody who waits."""


def request(folder: Path, **changes: Any) -> str:
    images = folder / "images.npy"
    np.save(images, np.ones((1, 1, 2, 2), np.float32))
    models = [nets.linear(folder / f"{name}.onnx", np.eye(4), (1, 2, 2)) for name in "ab"]
    tree = {
        "schema_version": 1,
        "engine": "onnxruntime",
        "images": str(images),
        "threads": 1,
        "blocks": 4,
        "runs": 5,
        "warm_up_s": [0.0, 0.05],
        "subjects": [{"name": model.stem, "path": str(model)} for model in models],
        **changes,
    }
    file = folder / "request.json"
    file.write_text(json.dumps(tree))
    return str(file)


def test_probe_tells_machine_and_engines() -> None:
    status, lines = agent("probe")
    assert status == 0
    assert [line["type"] for line in lines] == ["probe", "done"]
    assert lines[0]["cores"] == len(os.sched_getaffinity(0))
    assert lines[0]["numpy"] == np.__version__
    assert set(lines[0]["engines"]) >= {"onnxruntime", "tensorrt"}


def test_probe_works_without_numpy_and_says_so() -> None:
    # -S leaves out site-packages, as on a board with a bare Python.
    status, lines = agent("probe", start=("-S", "-m", "edgekd.agent"))
    assert status == 0
    assert lines[0]["numpy"] is None
    assert set(lines[0]["engines"].values()) == {None}


def test_without_its_runtime_a_measurement_ends_with_an_error_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "onnxruntime.py").write_text(
        "import os; os.write(1, b'native chatter'); raise ImportError('not on this board')"
    )
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    status, lines = agent("run", request(tmp_path))
    assert status == 1
    assert (lines[-1]["type"], lines[-1]["kind"]) == ("error", "engine")
    assert "not on this board" in lines[-1]["message"]


@pytest.mark.parametrize("arguments", [(), ("dance",), ("probe", "x"), ("run",), ("worker", "x")])
def test_wrong_arguments_end_with_status_2(arguments: tuple[str, ...]) -> None:
    assert agent(*arguments) == (2, [])


def test_run_measures_in_turns_and_says_so_line_by_line(tmp_path: Path) -> None:
    status, lines = agent("run", request(tmp_path))
    assert status == 0
    assert {line["schema_version"] for line in lines} == {1}
    blocks = [line for line in lines if line["type"] == "block"]
    assert [(b["block"], b["subject"]) for b in blocks] == [
        (0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1), (3, 1), (3, 0),
    ]  # fmt: skip
    assert all(len(b["samples_ns"]) == 5 and min(b["samples_ns"]) > 0 for b in blocks)
    kinds = [line["type"] for line in lines]
    assert kinds.count("opened") == kinds.count("warmed") == kinds.count("memory") == 2
    assert kinds.count("telemetry") == 1 + 4  # before the first round and after each
    progress = [line["done"] for line in lines if line["type"] == "progress"]
    assert progress == list(range(1, 11))  # two warm-ups and eight turns
    assert kinds[-1] == "done"


def test_who_shall_be_alone_waits_until_the_machine_is_free(tmp_path: Path) -> None:
    file = request(tmp_path, alone={"client": "you@there", "wait_s": 60.0})
    command = [sys.executable, "-m", "edgekd.agent", "run", file]
    with landing.alone("me@here", 60.0, mute):
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert started.stdout is not None
        waiting = json.loads(started.stdout.readline())
    rest = [json.loads(line) for line in started.communicate()[0].splitlines()]
    assert waiting["type"] == "waiting"
    assert waiting["holder"].startswith("me@here since ")
    assert rest[0]["type"] == "machine"
    assert rest[-1]["type"] == "done"


def test_who_has_waited_long_enough_is_refused(tmp_path: Path) -> None:
    file = request(tmp_path, alone={"client": "you@there", "wait_s": 0.0})
    with landing.alone("me@here", 60.0, mute):
        status, lines = agent("run", file)
    assert status == 1
    assert [line["type"] for line in lines] == ["error"]
    assert lines[0]["kind"] == "board"
    assert lines[0]["message"].startswith("the machine is in use by me@here since ")


def test_behind_a_landing_that_has_the_lock_nobody_waits(tmp_path: Path) -> None:
    with landing.alone("me@here", 60.0, mute):
        status, _ = agent("run", request(tmp_path, blocks=1))
    assert status == 0


def test_an_agent_that_is_killed_leaves_the_machine_free(tmp_path: Path) -> None:
    file = request(tmp_path, warm_up_s=[60.0, 60.0], alone={"client": "you@there", "wait_s": 0.0})
    command = [sys.executable, "-m", "edgekd.agent", "run", file]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, cwd=ROOT, start_new_session=True) as started:
        assert started.stdout is not None
        started.stdout.readline()  # it has the lock
        with pytest.raises(landing.RefusedError, match="in use by you@there since"):
            landing.alone("me@here", 0.0, mute).__enter__()
        os.killpg(started.pid, signal.SIGKILL)  # with its worker, which may take a moment
    with landing.alone("me@here", 60.0, mute):
        pass


def test_with_two_threads_the_same_lines_come(tmp_path: Path) -> None:
    status, lines = agent("run", request(tmp_path, threads=2, blocks=2))
    assert status == 0
    assert [line["type"] for line in lines].count("block") == 4


def test_the_zipped_agent_measures_as_well(tmp_path: Path) -> None:
    bundle.write(tmp_path / "agent.pyz")
    file = request(tmp_path, blocks=1)
    status, lines = agent("run", file, start=("agent.pyz",), cwd=tmp_path)
    assert status == 0
    assert [line["type"] for line in lines].count("block") == 2


def test_the_zipped_agent_fails_with_the_same_status(tmp_path: Path) -> None:
    bundle.write(tmp_path / "agent.pyz")
    assert agent("dance", start=("agent.pyz",), cwd=tmp_path) == (2, [])


@pytest.mark.parametrize(
    ("content", "why"), [(b"this is no model", "cannot be opened"), (None, "there is no model")]
)
def test_a_file_that_is_no_model_ends_with_one_error_line(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = request(tmp_path)
    (tmp_path / "b.onnx").unlink()
    if content is not None:
        (tmp_path / "b.onnx").write_bytes(content)
    status, lines = agent("run", file)
    assert status == 1
    errors = [line for line in lines if line["type"] == "error"]
    assert errors == lines[-1:]
    assert errors[0]["kind"] == "model"
    assert "b.onnx" in errors[0]["message"]
    assert why in errors[0]["message"]


def test_images_of_another_shape_end_with_an_error_line(tmp_path: Path) -> None:
    file = request(tmp_path)
    np.save(tmp_path / "images.npy", np.ones((1, 3, 2, 2), np.float32))
    status, lines = agent("run", file)
    assert status == 1
    assert "(1, 3, 2, 2)" in lines[-1]["message"]


def test_a_worker_that_dies_is_reported_with_the_subjects_name(tmp_path: Path) -> None:
    file = request(tmp_path, subjects=[{"name": "the culprit", "path": str(tmp_path / "a.onnx")}])
    (tmp_path / "images.npy").write_bytes(b"damaged")  # numpy's error is no AgentError
    status, lines = agent("run", file)
    assert status == 1
    assert "the culprit" in lines[-1]["message"]
