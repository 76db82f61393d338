import pytest
import torch
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.core.specs import Prune
from edgekd.models.build import build
from edgekd.models.checkpoint import count
from edgekd.prune import budget, graph
from edgekd.prune.budget import Candidate, Cost, Layer, allot
from edgekd.prune.group import Group, Member


def group(channels: int, cells: int = 1, name: str = "a") -> Group:
    every = torch.arange(channels)
    part = nn.Identity()
    members = (Member(name, part, "out", every, every), Member("b", part, "into", every, every))
    cells_c = every % cells
    return Group(name, channels, members, cells_c, residual=False, operations=())


def cost(*groups: Group) -> Cost:
    layers = {
        each.root: Layer(1.0, outputs=each.channels, inputs=1, depthwise=False) for each in groups
    }
    return Cost(layers, groups)


def kept(
    *groups: Group, goal: float, scores: list[Tensor] | None = None, **spec: object
) -> list[int]:
    scores = scores or [torch.arange(1.0, each.channels + 1) for each in groups]
    candidates = [
        Candidate(each, score_c, each.channels)
        for each, score_c in zip(groups, scores, strict=True)
    ]
    whole = cost(*groups).macs([each.channels for each in groups])
    settings = Prune(**{"round_to": 1, **spec})
    return allot(cost(*groups), candidates, settings, goal=goal, whole=whole)


@pytest.mark.parametrize("name", ["digits_resnet", "cifar_vgg16_narrow", "cifar_resnet20"])
def test_the_cost_of_keeping_everything_is_that_of_the_network(name: str) -> None:
    module = build(name, 10)
    shape = (1, 8, 8) if name == "digits_resnet" else (3, 32, 32)
    groups = [coupling.group for coupling in graph.trace(module, shape, interior=False, keep=())]
    whole = Cost(budget.layers(module, shape), groups).macs([each.channels for each in groups])
    assert whole == count(module, shape)[1]


def test_the_cost_is_that_counted_by_hand() -> None:
    every = torch.arange(4)
    part = nn.Identity()
    members = (Member("a", part, "out", every, every), Member("b", part, "into", every, every))
    cells_c = torch.zeros(4, dtype=torch.int64)
    pair = Group("a", 4, members, cells_c, residual=False, operations=())
    layers = {
        "a": Layer(10.0, outputs=4, inputs=3, depthwise=False),
        "b": Layer(2.0, outputs=5, inputs=4, depthwise=False),
    }
    assert Cost(layers, [pair]).macs([4]) == 10 * 4 * 3 + 2 * 5 * 4
    assert Cost(layers, [pair]).macs([1]) == 10 * 1 * 3 + 2 * 5 * 1


def test_a_depthwise_layer_costs_its_channels_once() -> None:
    every = torch.arange(4)
    sides = ("out", "into")
    members = tuple(Member("a", nn.Identity(), side, every, every) for side in sides)
    alone = Group("a", 4, members, every * 0, residual=False, operations=())
    assert Cost({"a": Layer(9.0, 4, 1, depthwise=True)}, [alone]).macs([3]) == 27


def test_uniform_pruning_takes_the_same_share_of_every_layer() -> None:
    assert kept(group(100), group(40, name="c"), goal=70) == [50, 20]


def test_channels_stay_a_multiple_of_the_rounding() -> None:
    assert kept(group(64), goal=30, round_to=8) == [32]
    assert kept(group(64), goal=27, round_to=8) == [24]


def test_channels_of_a_grouped_convolution_stay_a_multiple_of_its_groups_too() -> None:
    assert kept(group(96, cells=3), goal=48, round_to=8) == [48]
    # 64 would be nearer, but three groups cannot share it.
    assert kept(group(96, cells=3), goal=65, round_to=8) == [72]


def test_no_layer_loses_more_than_the_largest_ratio() -> None:
    scores = [torch.ones(100), torch.ones(100) * 100]
    # By rank alone the first would lose all.
    result = kept(
        group(100), group(100, name="c"), goal=100, scores=scores, spread="global", max_ratio=0.7
    )
    assert min(result) >= 30


def test_one_ranking_over_all_layers_spares_the_one_whose_channels_are_alike() -> None:
    alike, unlike = torch.ones(100), torch.cat([torch.zeros(50), torch.ones(50)])
    result = kept(
        group(100), group(100, name="c"), goal=150, scores=[alike, unlike], spread="global"
    )
    assert result == [100, 50]


def test_scores_of_layers_are_compared_relative_to_their_mean() -> None:
    score_c = torch.arange(1.0, 101)
    scores = [score_c, 1000 * score_c]
    result = kept(group(100), group(100, name="c"), goal=100, scores=scores, spread="global")
    assert result == [50, 50]


def test_layers_are_stepped_down_one_by_one_where_they_would_all_jump_at_once() -> None:
    groups = [group(16, name=name) for name in "acdefghijk"]
    result = kept(*groups, goal=128, round_to=8)
    # Rounded together they keep all 160 channels or 80.
    assert sorted(result) == [8] * 4 + [16] * 6


def test_a_goal_out_of_reach_names_the_least_that_is_possible() -> None:
    with pytest.raises(UsageError, match=r"no fewer than 0\.500 can be"):
        kept(group(16), goal=2, round_to=8)


def test_everything_is_kept_if_nothing_need_go() -> None:
    assert kept(group(16), group(5, name="c"), goal=21, macs=1.0) == [16, 5]


def test_a_layer_narrower_than_the_rounding_keeps_all_its_channels() -> None:
    assert kept(group(6), group(80, name="c"), goal=46, round_to=8) == [6, 40]
