import logging

import pytest
import torch
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.models.build import build
from edgekd.prune import graph
from edgekd.prune.graph import Coupling


class Net(nn.Module):
    """3 -> 8 channels, whatever ``middle`` does with them, -> 4 classes."""

    def __init__(self, middle: nn.Module, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = middle
        self.last = nn.Linear(channels, 4)

    def forward(self, images_nchw: Tensor) -> Tensor:
        return self.last(self.middle(self.first(images_nchw)).mean((2, 3)))


def trace(module: nn.Module, **options: object) -> list[Coupling]:
    settings = {"interior": False, "keep": ()} | options
    return graph.trace(module, (3, 8, 8), **settings)


def roots(module: nn.Module, **options: object) -> list[str]:
    return [coupling.group.root for coupling in trace(module, **options)]


def sides(coupling: Coupling) -> set[tuple[str, str]]:
    return {(member.name, member.side) for member in coupling.group.members}


def test_a_plain_convolution_is_cut_with_its_normalisation_and_its_reader() -> None:
    (coupling,) = trace(Net(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU())))
    assert coupling.group.channels == 8
    assert sides(coupling) == {("first", "out"), ("middle.0", "out"), ("last", "into")}


def test_the_logits_are_never_cut() -> None:
    assert "last" not in roots(Net(nn.Identity()))
    squeezenet = build("torchvision:squeezenet1_1", 10)
    found = graph.trace(squeezenet, (3, 32, 32), interior=False, keep=())
    assert "classifier.1" not in [coupling.group.root for coupling in found]


def test_a_depthwise_convolution_loses_both_sides() -> None:
    (coupling,) = trace(Net(nn.Conv2d(8, 8, 3, groups=8)))
    assert {("middle", "out"), ("middle", "into")} <= sides(coupling)


def test_a_grouped_convolution_divides_the_channels_that_it_reads_into_cells() -> None:
    first, middle = trace(Net(nn.Conv2d(8, 12, 3, groups=4), channels=12))
    assert first.group.cells_c.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert middle.group.cells_c.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_with_scope_interior_what_an_addition_crosses_is_left_alone() -> None:
    module = build("digits_resnet", 10)
    every = [c.group for c in graph.trace(module, (1, 8, 8), interior=False, keep=())]
    inner = [c.group for c in graph.trace(module, (1, 8, 8), interior=True, keep=())]
    assert [group.root for group in inner] == [
        f"layer{n}.{b}.conv1" for n in (1, 2) for b in (0, 1)
    ]
    assert sorted(group.residual for group in every) == [False] * 4 + [True] * 2


def test_adding_a_constant_is_no_residual_addition() -> None:
    class HardSwish(nn.Module):
        def forward(self, features_nchw: Tensor) -> Tensor:
            return features_nchw * (features_nchw + 3).clamp(0, 6) / 6

    assert roots(Net(HardSwish()), interior=True) == ["first"]


def test_named_layers_keep_their_output_channels() -> None:
    module = build("cifar_vgg16_narrow", 10)
    found = [c.group.root for c in graph.trace(module, (3, 32, 32), interior=False, keep=())]
    kept = graph.trace(module, (3, 32, 32), interior=False, keep=("features.[37]",))
    assert found[:3] == ["features.0", "features.3", "features.7"]
    assert [c.group.root for c in kept] == [name for name in found if name not in found[1:3]]


def test_flattening_maps_a_channel_to_all_its_pixels() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(128, 4))
    (coupling,) = trace(module)
    (reader,) = [m for m in coupling.group.members if m.name == "2"]
    assert reader.channels_m[reader.positions_m == 1].tolist() == list(range(64, 128))


def test_concatenation_shifts_the_second_part() -> None:
    class Concat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(8, 5, 1), nn.Conv2d(8, 3, 1)

        def forward(self, features_nchw: Tensor) -> Tensor:
            return torch.cat([self.one(features_nchw), self.two(features_nchw)], 1)

    _, one, two = trace(Net(Concat()))
    (reader,) = [m for m in two.group.members if m.name == "last"]
    assert (one.group.root, two.group.root) == ("middle.one", "middle.two")
    assert reader.channels_m.tolist() == [5, 6, 7]
    assert two.flows["middle"][0].tolist() == [5, 6, 7]


def test_a_layer_that_cannot_be_cut_keeps_its_group_whole_and_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert roots(Net(nn.GroupNorm(2, 8))) == []
    assert "'first' are left alone: a GroupNorm ('middle') cannot be cut" in caplog.text


def test_frozen_networks_are_traced_too_and_stay_as_they_were() -> None:
    module = Net(nn.BatchNorm2d(8)).requires_grad_(requires_grad=False).train()
    assert roots(module) == ["first"]
    assert module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())


def test_a_network_that_returns_no_tensor_is_an_error() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1)

        def forward(self, images_nchw: Tensor) -> dict[str, Tensor]:
            return {"logits": self.layer(images_nchw).mean((2, 3))}

    with pytest.raises(UsageError, match="Two must return one tensor"):
        trace(Two())
