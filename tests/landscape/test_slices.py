import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.errors import UsageError
from edgekd.landscape import directions, slices
from edgekd.landscape.loss import CrossEntropy, parameters, value
from tests.landscape.toys import Quadratic, images, net

BOWL = Quadratic(torch.diag(torch.tensor([2.0, 4.0], dtype=torch.float64)))


def weights(*numbers: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(numbers, dtype=torch.float64)}


def test_a_line_has_the_losses_that_are_worked_out_by_hand() -> None:
    # L = x^2 + 2 y^2 at (1 + p, 3)
    found = slices.line(BOWL, weights(1.0, 3.0), weights(1.0, 0.0), (-1.0, 0.0, 1.0))
    assert found == (18.0, 19.0, 22.0)


def test_the_middle_of_a_line_is_the_loss_itself() -> None:
    module = net()
    loss, here = CrossEntropy(module, [images()]), parameters(module)
    along = directions.draw(here, seed=0, which=0)
    found = slices.line(loss, here, along, (-1.0, 0.0, 1.0))
    assert found[1] == value(loss, here)
    assert found[0] != found[1]


def test_a_planes_rows_follow_the_second_direction() -> None:
    # L = p^2 + 2 q^2
    found = slices.plane(BOWL, weights(0.0, 0.0), weights(1.0, 0.0), weights(0.0, 1.0), (0, 1, 2))
    assert found == ((0.0, 1.0, 4.0), (2.0, 3.0, 6.0), (8.0, 9.0, 12.0))


def test_the_middle_row_of_a_plane_is_the_line() -> None:
    module = net()
    loss, here = CrossEntropy(module, [images()]), parameters(module)
    first, second = (directions.draw(here, seed=0, which=which) for which in (0, 1))
    positions = (-0.5, 0.0, 0.5)
    plane = slices.plane(loss, here, first, second, positions)
    assert plane[1] == slices.line(loss, here, first, positions)


def test_every_point_is_counted() -> None:
    ticks: list[int] = []
    at = weights(0.0, 0.0)
    slices.plane(BOWL, at, at, at, (0, 1, 2), lambda: ticks.append(1))
    slices.path(BOWL, at, at, 5, lambda: ticks.append(1))
    assert len(ticks) == 9 + 5


def test_a_path_ends_at_both_networks_with_their_own_statistics() -> None:
    start, end = net(), net()
    with torch.no_grad():
        end[0].weight.add_(0.3)
        end(images()[0])  # its running statistics change, too
    assert not torch.equal(start[1].running_mean, end[1].running_mean)
    losses = [value(CrossEntropy(one, [images()]), parameters(one)) for one in (start, end)]
    loss = CrossEntropy(start, [images()])
    found = slices.path(loss, start.state_dict(), end.state_dict(), 5)
    assert len(found) == 5
    assert [found[0], found[-1]] == losses


def test_a_path_between_different_shapes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"1 tensors differ, first 'w'. Name checkpoints"):
        slices.path(BOWL, weights(1.0, 2.0), weights(1.0), 3)


def test_a_barrier_is_counted_from_the_line_between_the_ends() -> None:
    assert slices.barrier((1.0, 5.0, 3.0)) == 3.0
    assert slices.barrier((1.0, 2.0, 3.0)) == 0.0


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_a_convex_loss_has_no_barrier(ends: list[float]) -> None:
    found = slices.path(BOWL, weights(*ends[:2]), weights(*ends[2:]), 7)
    assert slices.barrier(found) <= 1e-9


def test_a_hill_between_two_valleys_is_a_barrier() -> None:
    hill = Quadratic(-torch.eye(2, dtype=torch.float64))  # L = -|w|^2 / 2
    found = slices.path(hill, weights(-2.0, 0.0), weights(2.0, 0.0), 5)
    assert slices.barrier(found) == pytest.approx(2.0)
