"""The shell completes names of what is built in."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv = ['edgekd']; from edgekd.cli import main; main.main()"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("edgekd run cifar", ["cifar10-resnet56"]),
        ("edgekd export --target onnx-f", ["onnx-fp16", "onnx-fp32"]),
        ("edgekd prune --criterion f", ["fpgm"]),
        ("edgekd run nothing-like-it", []),
    ],
)
def test_names_of_what_is_built_in_are_offered(words: str, offered: list[str]) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | asked | {"_EDGEKD_COMPLETE": "complete_bash"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == offered, done.stderr
