import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from edgekd.core.errors import CheckpointError
from edgekd.models.build import build
from edgekd.models.weights import load_foreign, read_state


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(1)
    return build("cifar_resnet20", 10)


def assert_same(module: nn.Module, other: nn.Module) -> None:
    there = other.state_dict()
    assert all(torch.equal(tensor, there[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_wrapped_and_prefixed_state_dicts_are_unwrapped(
    trained: nn.Module, tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    path = tmp_path / "weights.pth"
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, path)
    module = build("cifar_resnet20", 10)
    load_foreign(module, path)
    assert_same(module, trained)


def test_constants_of_the_architecture_may_be_missing(trained: nn.Module, tmp_path: Path) -> None:
    state = {
        name: tensor for name, tensor in trained.state_dict().items() if "shortcut" not in name
    }
    save_file(state, tmp_path / "weights.safetensors")
    module = build("cifar_resnet20", 10)
    load_foreign(module, tmp_path / "weights.safetensors")
    assert_same(module, trained)


def test_heads_that_serve_only_training_are_left_out(tmp_path: Path) -> None:
    torch.save(
        {"weight": torch.ones(1, 1), "bias": torch.ones(1), "aux1.fc.weight": torch.ones(1)},
        tmp_path / "w.pt",
    )
    module = nn.Linear(1, 1)
    load_foreign(module, tmp_path / "w.pt")
    assert module.weight.item() == 1


def test_another_number_of_classes_names_both(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="10 classes at 'linear', but 7 are asked for"):
        load_foreign(build("cifar_resnet20", 7), tmp_path / "w.safetensors")


def test_another_architecture_names_the_first_keys_that_differ(
    trained: nn.Module, tmp_path: Path
) -> None:
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"missing layer1\.3\.conv1\.weight.* and \d+ more"):
        load_foreign(build("cifar_resnet32", 10), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="unexpected bn1"):
        load_foreign(nn.Linear(2, 2), tmp_path / "w.safetensors")


def test_other_widths_name_the_shapes(tmp_path: Path) -> None:
    save_file(nn.Linear(3, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"'weight' is \[2, 3\], expected \[2, 4\]"):
        load_foreign(nn.Linear(4, 2), tmp_path / "w.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_name_the_tensor(tmp_path: Path, value: float) -> None:
    module = nn.Linear(3, 2)
    module.bias.data[1] = value
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    before = nn.Linear(3, 2)
    expected = before.weight.detach().clone()
    with pytest.raises(CheckpointError, match="'bias' holds 1 values that are NaN or infinite"):
        load_foreign(before, tmp_path / "w.safetensors")
    assert torch.equal(before.weight, expected)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        load_foreign(nn.Linear(2, 2), tmp_path / "whole.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    state = nn.Linear(200, 20).state_dict()
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"not a whole|more than tensors"):
        load_foreign(nn.Linear(200, 20), path)


@given(st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / data.draw(
        st.sampled_from(["w.pt", "w.safetensors"])
    )
    state = nn.Linear(4, 3).state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        assert read_state(path)


@pytest.mark.parametrize("tree", [[torch.ones(1)], {"epoch": 3}, {}, torch.ones(3)])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, tree: object) -> None:
    torch.save(tree, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="state dict"):
        load_foreign(nn.Linear(1, 1), tmp_path / "w.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights file '.*gone\.pt'"):
        load_foreign(nn.Linear(1, 1), tmp_path / "gone.pt")


def test_half_precision_is_widened(tmp_path: Path) -> None:
    save_file(nn.Linear(2, 2).half().state_dict(), tmp_path / "w.safetensors")
    module = nn.Linear(2, 2)
    load_foreign(module, tmp_path / "w.safetensors")
    assert module.weight.dtype == torch.float32
