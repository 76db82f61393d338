import math

import pytest
import torch
from torch import nn

from edgekd.core.errors import UsageError
from edgekd.distill import optim
from edgekd.distill.optim import Schedule
from tests.distill import toys


def test_every_parameter_is_in_exactly_one_group() -> None:
    module = toys.network()
    extra = nn.Parameter(torch.zeros(2, 2))
    groups = optim.make(module, "linear", toys.stage(backbone_rate=0.1), [extra]).param_groups
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in [*module.parameters(), extra])


def test_vectors_do_not_decay_and_the_backbone_learns_at_its_own_rate() -> None:
    module = toys.network()
    optimiser = optim.make(module, "linear", toys.stage(backbone_rate=0.1, weight_decay=0.01))
    optim.set_rate(optimiser, 0.5)
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for p in group["params"]
    }
    assert found[id(module.linear.weight)] == (0.5, 0.01)
    assert found[id(module.linear.bias)] == (0.5, 0.0)
    assert found[id(module.conv.weight)] == (0.05, 0.01)
    assert found[id(module.bn.weight)] == (0.05, 0.0)


def test_frozen_parameters_are_left_out() -> None:
    module = toys.network().requires_grad_(requires_grad=False)
    module.linear.requires_grad_()
    groups = optim.make(module, "linear", toys.stage()).param_groups
    assert sum(len(group["params"]) for group in groups) == 2


def test_nothing_to_train_is_refused() -> None:
    module = toys.network().requires_grad_(requires_grad=False)
    with pytest.raises(UsageError, match="no parameters to train"):
        optim.make(module, "linear", toys.stage())


@pytest.mark.parametrize(
    ("changes", "kind", "momentum"),
    [
        ({}, torch.optim.SGD, (0.9, True)),
        ({"momentum": 0}, torch.optim.SGD, (0, False)),
        ({"optimiser": "adamw"}, torch.optim.AdamW, None),
    ],
)
def test_the_stage_chooses_the_optimiser(
    changes: dict[str, object], kind: type, momentum: tuple[float, bool] | None
) -> None:
    optimiser = optim.make(toys.network(), "linear", toys.stage(**changes))
    assert type(optimiser) is kind
    if momentum is not None:
        group = optimiser.param_groups[0]
        assert (group["momentum"], group["nesterov"]) == momentum


def test_rate_warms_up_in_equal_steps_and_falls_along_a_cosine_to_zero() -> None:
    schedule = Schedule(toys.stage(epochs=3, learning_rate=0.8, warmup_epochs=1), steps=4)
    rates = [schedule.rate(step) for step in range(12)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4] == pytest.approx(0.8)
    assert rates[8] == pytest.approx(0.4)  # half of the way down
    assert rates[11] == pytest.approx(0.4 * (1 + math.cos(math.pi * 7 / 8)))
    assert schedule.note == ""


def test_warm_up_takes_half_of_a_short_stage_at_most_and_says_so() -> None:
    schedule = Schedule(toys.stage(epochs=1, learning_rate=1, warmup_epochs=1), steps=4)
    assert [schedule.rate(step) for step in range(3)] == pytest.approx([0.5, 1.0, 1.0])
    assert schedule.note == "warm-up: 2 steps, half of the stage, instead of 4"


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    assert Schedule(toys.stage(learning_rate=0.3, warmup_epochs=0), 4).rate(0) == 0.3


def test_average_follows_weights_and_statistics() -> None:
    module = toys.network()
    average = optim.average(module, 0.75)
    average.update_parameters(module)
    first = [p.detach().clone() for p in (module.conv.weight, module.bn.running_mean)]
    with torch.no_grad():
        module.conv.weight += 1
        module.bn.running_mean += 2
    average.update_parameters(module)
    assert torch.allclose(average.module.conv.weight, first[0] + 0.25, atol=1e-6)
    assert torch.allclose(average.module.bn.running_mean, first[1] + 0.5, atol=1e-6)
