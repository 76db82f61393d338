import copy

import pytest
import torch
from torch import nn

from edgekd.core.errors import UsageError
from edgekd.core.specs import Prune
from edgekd.models.build import build
from edgekd.models.checkpoint import count
from edgekd.models.surgery import Surgery, replay
from edgekd.prune.budget import TOLERANCE
from edgekd.prune.channels import prune

DIGITS = (1, 8, 8)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return build("digits_resnet", 10)


def share(module: nn.Module, other: nn.Module) -> float:
    return count(module, DIGITS)[1] / count(other, DIGITS)[1]


@pytest.mark.parametrize("scope", ["all", "interior"])
@pytest.mark.parametrize("spread", ["uniform", "global"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_share_of_macs_that_was_asked_for_is_left(
    module: nn.Module, scope: str, spread: str, rounds: int
) -> None:
    whole = copy.deepcopy(module)
    prune(module, DIGITS, Prune(macs=0.5, scope=scope, spread=spread, rounds=rounds, round_to=2))
    assert share(module, whole) == pytest.approx(0.5, abs=TOLERANCE)


def test_replay_on_a_new_network_gives_the_same_logits_to_the_last_bit(module: nn.Module) -> None:
    surgery = prune(module, DIGITS, Prune(macs=0.4, rounds=2, round_to=4))
    again = build("digits_resnet", 10)
    replay(again, Surgery.from_json(surgery.to_json()))
    again.load_state_dict(module.state_dict())
    images_nchw = torch.randn(3, *DIGITS)
    assert torch.equal(again.eval()(images_nchw), module.eval()(images_nchw))


def test_what_survives_has_the_weights_that_it_had(module: nn.Module) -> None:
    whole = copy.deepcopy(module)
    surgery = prune(module, DIGITS, Prune(macs=0.5, round_to=2))
    for name in ("layer1.0.conv1", "layer2.1.conv2"):
        kept = surgery.kept[name]
        expected = whole.get_submodule(name).weight[list(kept.out)][:, list(kept.into)]
        assert torch.equal(module.get_submodule(name).weight, expected)


def test_channels_whose_weights_are_zero_go_first_and_nothing_changes(module: nn.Module) -> None:
    module.eval()
    block = module.layer1[0]
    with torch.no_grad():
        block.conv1.weight[::2] = 0
        block.bn1.weight[::2] = 0
        block.bn1.bias[::2] = 0
        block.conv2.weight[:, ::2] = 0
    images_nchw = torch.randn(3, *DIGITS)
    expected = module(images_nchw)
    others = tuple(f"layer{n}.{b}.conv1" for n, b in ((1, 1), (2, 0), (2, 1)))
    macs = 1 - 8 * 16 * 9 * 64 * 2 / count(module, DIGITS)[1]
    surgery = prune(module, DIGITS, Prune(macs=macs, scope="interior", keep=others))
    assert surgery.kept_out("layer1.0.conv1") == tuple(range(1, 16, 2))
    assert torch.allclose(module(images_nchw), expected, atol=1e-5)


def test_scope_interior_leaves_the_blocks_outputs_whole(module: nn.Module) -> None:
    surgery = prune(module, DIGITS, Prune(macs=0.6, scope="interior", round_to=2))
    assert all(surgery.kept_output(f"layer{n}.{b}") is None for n in (1, 2) for b in (0, 1))
    assert module.layer1[0].conv2.out_channels == 16


def test_the_channels_of_a_block_s_output_are_known(module: nn.Module) -> None:
    whole = copy.deepcopy(module)
    surgery = prune(module, DIGITS, Prune(macs=0.4))
    kept = surgery.kept_output("layer2.0")
    assert kept == surgery.kept_out("layer2.0.conv2") == surgery.kept_out("layer2.1.bn2")
    assert len(kept) == module.layer2[0].conv2.out_channels < whole.layer2[0].conv2.out_channels
    assert None not in surgery.outputs.values()


def test_channels_are_a_multiple_of_the_rounding(module: nn.Module) -> None:
    prune(module, DIGITS, Prune(macs=0.4, round_to=4))
    widths = [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert all(width % 4 == 0 for width in widths)


def test_named_layers_keep_their_channels(module: nn.Module) -> None:
    surgery = prune(module, DIGITS, Prune(macs=0.8, round_to=2, keep=("layer2.*", "conv1")))
    assert surgery.kept_out("layer2.0.conv1") is None
    assert surgery.kept_out("layer1.0.conv1") is not None


def test_a_second_pruning_counts_its_channels_from_the_first_network(module: nn.Module) -> None:
    first = prune(module, DIGITS, Prune(macs=0.7, round_to=4))
    both = prune(module, DIGITS, Prune(macs=0.7, round_to=4), surgery_so_far=first)
    again = build("digits_resnet", 10)
    replay(again, both)
    again.load_state_dict(module.state_dict())
    for name, kept in both.kept.items():
        if kept.out is not None:
            assert set(kept.out) <= set(first.kept_out(name) or kept.out)


def test_a_network_that_cannot_be_pruned_enough_is_left_whole(module: nn.Module) -> None:
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(UsageError, match=r"0\.010 of the MACs are to be left, but no fewer than"):
        prune(module, DIGITS, Prune(macs=0.01, rounds=3))
    assert all(torch.equal(before[name], now) for name, now in module.state_dict().items())


def test_a_network_without_removable_channels_says_so() -> None:
    with pytest.raises(UsageError, match="Sequential has no channels that can be removed"):
        prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), DIGITS, Prune())


def test_an_unknown_criterion_names_the_known_ones(module: nn.Module) -> None:
    with pytest.raises(UsageError, match="Did you mean 'l1'"):
        prune(module, DIGITS, Prune(criterion="l11"))


def test_modes_and_frozen_weights_stay_as_they_were(module: nn.Module) -> None:
    module.train()
    module.conv1.weight.requires_grad = False
    prune(module, DIGITS, Prune(macs=0.5))
    assert module.training
    assert not module.conv1.weight.requires_grad
    assert module.linear.weight.requires_grad


def test_all_channels_stay_if_all_macs_are_left(module: nn.Module) -> None:
    assert prune(module, DIGITS, Prune(macs=1.0)) == Surgery.none()


def test_pruning_twice_gives_the_same_channels(module: nn.Module) -> None:
    twin = copy.deepcopy(module)
    spec = Prune(macs=0.5, spread="global", round_to=1)
    assert prune(module, DIGITS, spec) == prune(twin, DIGITS, spec)
