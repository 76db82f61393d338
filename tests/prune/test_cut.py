import logging

import pytest
import torch
from torch import Tensor, nn

from edgekd.models.surgery import Kept
from edgekd.prune import cut, graph
from edgekd.prune.group import Group, Member


def group(channels: int, cells_c: list[int], *members: Member) -> Group:
    cells = torch.tensor(cells_c)
    return Group("a", channels, members, cells, residual=False, operations=())


def test_the_least_important_channels_go() -> None:
    score_c = torch.tensor([3.0, 1.0, 4.0, 2.0])
    assert cut.least(group(4, [0] * 4), score_c, 2).tolist() == [False, True, False, True]


def test_each_cell_loses_equally_many() -> None:
    score_c = torch.tensor([1.0, 2.0, 3.0, 30.0, 20.0, 10.0])
    gone_c = cut.least(group(6, [0, 0, 0, 1, 1, 1]), score_c, 4)
    assert gone_c.tolist() == [True, False, False, False, False, True]


def test_removals_of_several_groups_from_one_reader_are_joined() -> None:
    reader = nn.Linear(6, 1)
    halves = [torch.arange(3), torch.arange(3, 6)]
    groups = [
        group(3, [0] * 3, Member("reader", reader, "into", half, torch.arange(3)))
        for half in halves
    ]
    gone = [torch.tensor([True, False, False]), torch.tensor([False, False, True])]
    assert cut.surgery(groups, gone).kept == {"reader": Kept(None, (1, 2, 3, 4))}


def test_a_group_that_loses_nothing_leaves_no_trace() -> None:
    member = Member("layer", nn.Linear(1, 3), "out", torch.arange(3), torch.arange(3))
    assert cut.surgery([group(3, [0] * 3, member)], [torch.zeros(3, dtype=torch.bool)]).kept == {}


class Blocked(nn.Module):
    """One layer whose channels are read in halves, and one that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.halved = nn.Conv2d(3, 8, 1)
        self.free = nn.Conv2d(4, 8, 1)
        self.last = nn.Linear(8, 4)

    def forward(self, images_nchw: Tensor) -> Tensor:
        one_nchw, two_nchw = self.halved(images_nchw).chunk(2, dim=1)
        return self.last(self.free(one_nchw * two_nchw).mean((2, 3)))


def test_what_breaks_is_left_alone_and_named_with_what_stands_behind_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    module, shape = Blocked(), (3, 4, 4)
    traced = graph.trace(module, shape, interior=False, keep=())
    with caplog.at_level(logging.WARNING):
        accepted = cut.sound(module, shape, traced)
    assert [one.group.root for one in traced] == ["halved", "free"]
    assert [one.group.root for one in accepted] == ["free"]
    assert "1 of 2 groups of channels are left alone" in caplog.text
    assert "'halved' (behind Split, Mul)" in caplog.text
