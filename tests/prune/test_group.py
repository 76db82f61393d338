import pytest
import torch
from torch import nn

from edgekd.core import plugins
from edgekd.core.errors import UsageError
from edgekd.models.family import padding_shortcut
from edgekd.prune.group import Criterion, Group, Member, magnitude, rows

CRITERIA = plugins.CRITERIA


def member(part: nn.Module, side: str, channels: int) -> Member:
    every = torch.arange(channels)
    return Member("layer", part, side, every, every)


def group(*members: Member, channels: int = 3) -> Group:
    cells_c = torch.zeros(channels, dtype=torch.int64)
    return Group("layer", channels, members, cells_c, residual=False, operations=())


def pointwise(weight_oi: list[list[float]]) -> nn.Conv2d:
    part = nn.Conv2d(len(weight_oi[0]), len(weight_oi), 1, bias=False)
    part.weight.data.copy_(torch.tensor(weight_oi)[:, :, None, None])
    return part


def test_the_magnitude_of_a_channel_is_the_mean_of_its_layers_norms() -> None:
    maker = pointwise([[3.0, -4.0], [0.0, 1.0], [1.0, 0.0]])
    reader = pointwise([[2.0, 4.0, 0.0]])
    both = group(member(maker, "out", 3), member(reader, "into", 3))
    # L1 of the rows: 7, 1, 1 with mean 3; of the columns: 2, 4, 0 with mean 2.
    expected = [(7 / 3 + 1) / 2, (1 / 3 + 2) / 2, (1 / 3 + 0) / 2]
    assert magnitude(both, 1).tolist() == pytest.approx(expected)
    # L2 of the rows: 5, 1, 1 with mean 7/3.
    alone = magnitude(group(member(maker, "out", 3)), 2)
    assert alone.tolist() == pytest.approx([15 / 7, 3 / 7, 3 / 7])


def test_the_inputs_of_a_grouped_convolution_are_judged_in_their_group() -> None:
    part = nn.Conv2d(4, 4, 1, groups=2, bias=False)
    part.weight.data.copy_(torch.arange(8.0).reshape(4, 2, 1, 1))
    # Outputs 0 and 1 read inputs 0 and 1 with [[0, 1], [2, 3]]; the others have [[4, 5], [6, 7]].
    assert rows(member(part, "into", 4)).tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_constants_of_the_architecture_are_not_judged() -> None:
    assert rows(member(padding_shortcut(2, 4, 2), "out", 4)) is None
    assert rows(member(nn.BatchNorm2d(4), "out", 4)) is None


def test_values_of_several_channels_of_a_layer_are_summed_into_the_group_s_channel() -> None:
    flattened = Member(
        "linear", nn.Linear(6, 1), "into", torch.arange(6), torch.tensor([0, 0, 1, 1, 2, 2])
    )
    assert group(flattened).gather(torch.arange(6.0), flattened).tolist() == [1, 5, 9]


@pytest.fixture(params=plugins.names(CRITERIA))
def criterion(request: pytest.FixtureRequest) -> Criterion:
    return plugins.create(CRITERIA, request.param, Criterion, {})


def test_every_criterion_gives_each_channel_one_score(criterion: Criterion) -> None:
    torch.manual_seed(0)
    parts = (nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 3))
    sides = ("out", "out", "into")
    members = [member(part, side, 5) for part, side in zip(parts, sides, strict=True)]
    score_c = criterion.score(group(*members, channels=5))
    assert score_c.shape == (5,)
    assert (score_c >= 0).all()
    assert score_c.isfinite().all()


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_channel_without_weights_is_the_least_important(name: str) -> None:
    part = nn.Conv2d(2, 5, 3)
    part.weight.data[3] = 0
    criterion = plugins.create(CRITERIA, name, Criterion, {})
    assert criterion.score(group(member(part, "out", 5), channels=5)).argmin() == 3


def test_the_scale_of_the_batch_normalisation_is_taken_without_its_sign() -> None:
    part = nn.BatchNorm2d(3)
    part.weight.data.copy_(torch.tensor([0.5, -2.0, 1.0]))
    criterion = plugins.create(CRITERIA, "bn_scale", Criterion, {})
    assert criterion.score(group(member(part, "out", 3))).tolist() == [0.5, 2.0, 1.0]


def test_without_batch_normalisation_its_scale_cannot_be_judged() -> None:
    criterion = plugins.create(CRITERIA, "bn_scale", Criterion, {})
    with pytest.raises(UsageError, match="cannot judge the channels of 'layer'"):
        criterion.score(group(member(nn.Conv2d(1, 3, 1), "out", 3)))


def test_a_filter_in_the_midst_of_the_others_is_the_least_important_to_fpgm() -> None:
    part = pointwise([[0.0], [1.0], [5.0]])
    criterion = plugins.create(CRITERIA, "fpgm", Criterion, {})
    # Distances to the others: 1 + 5, 1 + 4, 5 + 4.
    assert criterion.score(group(member(part, "out", 3))).tolist() == pytest.approx([6, 5, 9])


def test_random_scores_repeat_with_the_seed() -> None:
    def score(seed: int) -> list[float]:
        criterion = plugins.create(CRITERIA, "random", Criterion, {"seed": seed})
        return criterion.score(group(member(nn.Conv2d(1, 3, 1), "out", 3))).tolist()

    assert score(1) == score(1)
    assert score(1) != score(2)
