import importlib.metadata
import platform
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import edgekd
from edgekd.core import provenance


def test_a_stamp_says_who_when_and_with_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/me/bin/edgekd", "run", "digits"])
    stamp = provenance.stamp("numpy", seed=3)
    assert stamp.command == ("edgekd", "run", "digits")
    assert stamp.seed == 3
    assert stamp.versions == {
        "edgekd": edgekd.__version__,
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
    }
    assert stamp.made_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - stamp.made_at) < timedelta(minutes=1)


def test_the_machine_is_its_processor_and_the_cores_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: {0, 1, 5})
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: "processor : 0\nmodel name\t: Tiny: CPU 3\n")
    monkeypatch.setattr(provenance.platform, "system", lambda: "Linux")
    assert provenance.machine() == "Tiny: CPU 3, 3 cores, Linux"


def test_a_processor_that_linux_does_not_name_is_called_by_its_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "processor : 0\nCPU part : 0xd0c\n")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "aarch64")
    assert provenance.machine().startswith("aarch64, ")


def test_the_environment_names_the_packages_that_are_there_but_no_tools_of_developers() -> None:
    versions = provenance.environment(seed=7).versions
    assert versions["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert versions["edgekd"] == edgekd.__version__
    assert not versions.keys() & {"pytest", "ruff", "mypy", "hypothesis"}


def test_an_environment_without_an_installed_package_still_names_what_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError("edgekd")

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert {"edgekd", "numpy", "onnxruntime"} <= provenance.environment().versions.keys()
