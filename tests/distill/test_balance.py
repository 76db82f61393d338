import math
from pathlib import Path

import pytest
import torch

from edgekd.distill import balance
from tests.distill import toys
from tests.distill.toys import fit, model, same, stage

KD = {"name": "kd", "options": {"temperature": 1.0}}
LOUD_KD = {"name": "kd", "options": {"temperature": 8.0}, "weight": 1.0}
MSE = {"name": "logit_mse", "weight": 0.5}


def test_losses_that_fall_alike_are_weighed_alike() -> None:
    assert balance._by_rate([[4.0, 100.0], [2.0, 50.0]]) == [1.0, 1.0]


def test_the_loss_that_falls_more_slowly_weighs_more_and_weights_sum_to_their_number() -> None:
    # Ratios 1 and 0: softmax(1 / 2, 0) times 2.
    slow, fast = balance._by_rate([[3.0, 3.0], [3.0, 0.0]])
    assert slow == pytest.approx(2 / (1 + math.exp(-0.5)))
    assert slow + fast == pytest.approx(2.0)


def test_a_loss_of_0_keeps_its_rate() -> None:
    assert balance._by_rate([[0.0, 1.0], [0.0, 1.0]]) == [1.0, 1.0]


def test_rates_weigh_from_the_third_epoch_on(tmp_path: Path) -> None:
    wanted = stage(epochs=4, methods=[KD, MSE], balance="loss-rate")
    _, record = fit(tmp_path, wanted, model(0), model(1))
    first, second, third, fourth = record.epochs
    assert first.factors == second.factors == (1.0, 1.0)
    losses = [
        [epoch.terms["kd"] / epoch.factors[0], epoch.terms["logit_mse"] / epoch.factors[1]]
        for epoch in (second, third)
    ]
    assert fourth.factors == pytest.approx(balance._by_rate(losses))
    assert fourth.weights["logit_mse"] == pytest.approx(0.5 * fourth.factors[1])
    assert fourth.weights["ce"] == 1.0


def test_gradients_are_scaled_to_that_of_cross_entropy(tmp_path: Path) -> None:
    # No learning and no variation, so the batch that is looked at is one that was measured.
    wanted = stage(
        epochs=1, methods=[MSE], balance="gradient-norm", learning_rate=1e-9, batch_norm="frozen"
    )
    one_batch = toys.splits(train=16)
    still = toys.DATA.model_copy(update={"augment": "none"})
    _, record = fit(tmp_path, wanted, model(0), model(1), splits=one_batch, data=still)
    (epoch,) = record.epochs
    ratio = epoch.gradient_norms["logit_mse"] / epoch.gradient_norms["ce"]
    assert ratio == pytest.approx(0.5, rel=1e-3)
    assert epoch.weights["logit_mse"] == pytest.approx(0.5 * epoch.factors[0])


def test_without_cross_entropy_gradients_are_scaled_to_that_of_the_first_method(
    tmp_path: Path,
) -> None:
    wanted = stage(epochs=1, ce=0, methods=[LOUD_KD, MSE], balance="gradient-norm")
    _, record = fit(tmp_path, wanted, model(0), model(1))
    assert record.epochs[0].factors[0] == pytest.approx(1.0)
    assert record.epochs[0].factors[1] != pytest.approx(1.0)


def test_a_method_without_any_pull_keeps_its_weight(tmp_path: Path) -> None:
    wanted = stage(epochs=1, methods=[KD], balance="gradient-norm", batch_norm="frozen")
    _, record = fit(tmp_path, wanted, model(0), model(0))
    assert record.epochs[0].factors == (1.0,)


@pytest.mark.parametrize("kind", ["gradient-norm", "loss-rate"])
def test_a_resumed_stage_goes_on_with_the_same_weights(tmp_path: Path, kind: str) -> None:
    wanted = stage(epochs=4, methods=[KD, MSE], balance=kind)
    whole, expected = fit(tmp_path / "whole", wanted, model(0), model(1))

    def stop(title: str, count: int, note: str) -> None:
        del title, note
        if count == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", wanted, model(0), model(1), progress=toys.Listener(stop))
    resumed, record = fit(tmp_path / "cut", wanted, model(0), model(1))
    assert same(whole, resumed)
    assert [e.factors for e in record.epochs] == [e.factors for e in expected.epochs]


def test_balancing_measures_without_moving_the_statistics(tmp_path: Path) -> None:
    frozen = {"epochs": 1, "methods": [KD], "learning_rate": 1e-30, "warmup_epochs": 0.0}
    plain, _ = fit(tmp_path / "plain", stage(**frozen), model(0), model(1))
    balanced, _ = fit(
        tmp_path / "balanced", stage(**frozen, balance="gradient-norm"), model(0), model(1)
    )
    pairs = zip(plain.buffers(), balanced.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
