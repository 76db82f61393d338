import os
from pathlib import Path

import pytest
import torch

from edgekd.core.errors import EnvironmentMissingError, RecordError
from edgekd.distill import optim, state
from edgekd.distill.state import State
from tests.distill import toys


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    shared = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    state.write(
        tmp_path, "key", State({"epoch": 3}, {"a.x": shared, "a.y": shared, "b.x": shared[0]})
    )
    found = state.read(tmp_path, "key")
    assert found is not None
    assert found.facts == {"epoch": 3}
    assert torch.equal(found.part("a")["y"], shared)
    assert list(found.part("b")) == ["x"]


def test_a_full_disk_is_named_and_the_old_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(tmp_path, "key", State({"epoch": 1}, {"a": torch.zeros(1)}))

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EnvironmentMissingError, match="is full"):
        state.write(tmp_path, "key", State({"epoch": 2}, {"a": torch.ones(1)}))
    monkeypatch.undo()
    found = state.read(tmp_path, "key")
    assert found is not None
    assert found.facts == {"epoch": 1}


def test_there_may_be_none(tmp_path: Path) -> None:
    assert state.read(tmp_path, "key") is None


def test_the_state_of_another_training_is_not_taken(tmp_path: Path) -> None:
    state.write(tmp_path, "key", State({}, {"a": torch.zeros(1)}))
    assert state.read(tmp_path, "another") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\x10\x00\x00\x00\x00\x00\x00\x00garbage"])
def test_a_damaged_state_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / state.FILE).write_bytes(content)
    with pytest.raises(RecordError, match=r"is damaged.*delete it"):
        state.read(tmp_path, "key")


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_an_optimiser_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path, kind: str) -> None:
    stage = toys.stage(optimiser=kind)

    def step(module: torch.nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        optimiser.zero_grad()
        images_nchw = torch.randn(4, 1, 6, 6, generator=generator)
        module(images_nchw.to(memory_format=torch.channels_last)).square().sum().backward()
        optimiser.step()

    whole = toys.network().to(memory_format=torch.channels_last)
    optimiser = optim.make(whole, "linear", stage)
    step(whole, optimiser, 0)
    tensors = state.of_module(whole, "student") | state.of_optimiser(optimiser)
    state.write(tmp_path, "key", State({}, tensors))
    step(whole, optimiser, 1)

    found = state.read(tmp_path, "key")
    assert found is not None
    resumed = toys.network(9).to(memory_format=torch.channels_last)
    resumed.load_state_dict(found.part("student"))
    again = optim.make(resumed, "linear", stage)
    state.into_optimiser(again, found.part("optimiser"))
    step(resumed, again, 1)
    assert toys.same(whole, resumed)
