from pathlib import Path

import pytest
import torch

from edgekd.core import specs
from edgekd.core.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekd.distill import hardware

CPU = torch.device("cpu")


def training(**changes: object) -> specs.Training:
    return specs.Training.model_validate({"device": "cpu", **changes})


def cpu_with(flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse2\n")
    monkeypatch.setattr(hardware, "_CPU_INFORMATION", tmp_path / "cpuinfo")


@pytest.mark.parametrize(
    ("flags", "amp", "word"),
    [
        ("avx2", None, "does not compute in bf16"),
        ("avx512f", None, "does not compute in bf16"),
        ("avx512_bf16", torch.bfloat16, "computes in"),
        ("amx_bf16", torch.bfloat16, "computes in"),
    ],
)
def test_bf16_is_used_where_the_processor_has_it(
    flags: str,
    amp: torch.dtype | None,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu_with(flags, tmp_path, monkeypatch)
    decided = hardware.decide(training(), CPU, 1.0, 1)
    assert decided.amp == amp
    assert word in decided.notes[0]


def test_bf16_that_is_asked_for_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_with("avx2", tmp_path, monkeypatch)
    decided = hardware.decide(training(amp="bf16"), CPU, 1.0, 1)
    assert decided.amp == torch.bfloat16
    assert "slower" in decided.notes[0]


def test_compiling_waits_until_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_compiler", lambda: "g++")
    little = hardware.decide(training(), CPU, 1e9, 10)
    much = hardware.decide(training(), CPU, 1e15, 10)
    assert not little.compile
    assert little.notes[1] == "compile: off, for it would not pay: 1.0e+09 of 3.0e+12 MACs"
    assert much.compile


def test_without_a_compiler_nothing_is_compiled_and_the_note_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "_compiler", lambda: None)
    decided = hardware.decide(training(), CPU, 1e18, 1)
    assert not decided.compile
    assert "no C++ compiler" in decided.notes[1]


def test_compiling_that_is_asked_for_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(EnvironmentMissingError, match=r"needs a C\+\+ compiler"):
        hardware.decide(training(compile="on"), CPU, 1.0, 1)


def test_the_compiler_that_the_environment_names_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", str(compiler))
    assert hardware.decide(training(compile="on"), CPU, 1.0, 1).compile


def test_devices_are_found_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.device_of("auto") == CPU
    with pytest.raises(DeviceError, match="torch sees 0 CUDA devices"):
        hardware.device_of("cuda")
    with pytest.raises(UsageError, match="auto, cpu, cuda or cuda:N, but is 'tpu'"):
        hardware.device_of("tpu")


def test_each_process_takes_its_own_gpu_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert hardware.device_of("cuda", local_rank=2) == torch.device("cuda", 2)
    assert hardware.device_of("cuda:1", local_rank=2) == torch.device("cuda", 1)


def test_switches_and_random_numbers_are_as_before_outside_the_block() -> None:
    before = torch.get_rng_state()
    with hardware.reproducible(training(deterministic=True), CPU):
        assert torch.are_deterministic_algorithms_enabled()
        torch.manual_seed(3)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_switches_are_put_back_after_an_error() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        hardware.reproducible(training(deterministic=True), CPU),
    ):
        1 / 0  # noqa: B018
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_deterministic_gpu_needs_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    asked = hardware.reproducible(training(deterministic=True), torch.device("cuda"))
    with pytest.raises(UsageError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8"), asked:
        pass
