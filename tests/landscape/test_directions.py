import pytest
import torch

from edgekd.landscape import directions
from edgekd.landscape.loss import parameters
from tests.landscape.toys import net


def test_each_filter_of_a_direction_is_as_long_as_the_networks() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]])
    found = directions.draw({"w": weight}, seed=0, which=0)["w"]
    assert found.norm(dim=1).tolist() == pytest.approx([5.0, 0.0, 2.0])


def test_a_filter_of_a_convolution_is_all_that_makes_one_output_channel() -> None:
    weights = parameters(net())
    found = directions.draw(weights, seed=0, which=0)["0.weight"]
    torch.testing.assert_close(
        found.flatten(1).norm(dim=1), weights["0.weight"].flatten(1).norm(dim=1)
    )


def test_biases_and_batch_normalisation_stay() -> None:
    found = directions.draw(parameters(net()), seed=0, which=0)
    still = [name for name, tensor in found.items() if not tensor.any()]
    assert still == ["0.bias", "1.weight", "1.bias", "5.bias"]


def test_one_seed_gives_networks_of_equal_shapes_the_same_numbers() -> None:
    first, second = parameters(net()), {n: 2 * t for n, t in parameters(net()).items()}
    one, other = (directions.draw(weights, seed=7, which=0) for weights in (first, second))
    for name, tensor in one.items():
        torch.testing.assert_close(2 * tensor, other[name])


def test_seeds_and_both_directions_differ() -> None:
    weights = parameters(net())
    drawn = [
        directions.draw(weights, seed=seed, which=which)["5.weight"]
        for seed in (0, 1)
        for which in (0, 1)
    ]
    for place, one in enumerate(drawn):
        assert not any(torch.allclose(one, other) for other in drawn[:place])
