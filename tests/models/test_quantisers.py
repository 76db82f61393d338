import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.models import quantisers
from edgekd.models.quantisers import activation, bounds, weight


def weights(seed: int = 0, outputs: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-1, 1, outputs, dtype=torch.float64).view(-1, 1, 1, 1)
    return scale * torch.randn(outputs, 3, 3, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rule", ["edgekd", "faqd"])
@pytest.mark.parametrize(("bits", "values"), [(1, 2), (2, 3), (4, 15)])
def test_weights_take_as_many_values_as_the_bits_say(rule: str, bits: int, values: int) -> None:
    # 4 bits reach every one of their levels only with many weights.
    spread = torch.linspace(-1, 1, 401, dtype=torch.float64).view(1, -1)
    assert len(weight(spread, bits, rule).unique()) == values


@pytest.mark.parametrize("rule", ["edgekd", "faqd"])
@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8, 32])
def test_gradient_of_weights_passes_straight_through(rule: str, bits: int) -> None:
    weight_o = weights().requires_grad_()
    gradient_o = weights(1)
    weight(weight_o, bits, rule).backward(gradient_o)
    assert torch.equal(weight_o.grad, gradient_o)


@pytest.mark.parametrize(("bits", "largest"), [(7, 64), (8, 127)])
def test_integers_of_engines_reach_their_bound_in_every_channel(bits: int, largest: int) -> None:
    weight_o = weights()
    step_o = weight_o.abs().amax(dim=(1, 2, 3)) / largest
    integers = weight(weight_o, bits) / step_o.view(-1, 1, 1, 1)
    assert torch.allclose(integers, integers.round(), atol=1e-9)
    assert torch.allclose(integers.abs().amax(dim=(1, 2, 3)), torch.tensor(float(largest)).double())


def test_one_bit_is_the_mean_size_with_its_sign_and_zero_counts_as_positive() -> None:
    weight_o = torch.tensor([[0.0, -1.0, 2.0], [3.0, -3.0, 0.0]])
    expected = torch.tensor([[1.0, -1.0, 1.0], [2.0, -2.0, 2.0]])
    assert torch.equal(weight(weight_o, 1), expected)
    assert torch.allclose(weight(weight_o, 1, "faqd").abs(), torch.full((2, 3), 1.5))


def test_ternary_takes_its_scale_from_the_kept_weights_and_faqd_from_all() -> None:
    # mean |w| = 1.5, so 1.05 is the threshold: 2 and -3 are kept.
    weight_o = torch.tensor([[0.5, 2.0, -3.0, -0.5]])
    assert torch.equal(weight(weight_o, 2), torch.tensor([[0.0, 2.5, -2.5, 0.0]]))
    assert torch.equal(weight(weight_o, 2, "faqd"), torch.tensor([[0.0, 1.25, -1.25, 0.0]]))


def test_faqd_s_four_bits_have_the_published_borders() -> None:
    # The largest is 15, so d = 1: up to 1 -> 0, up to 3 -> 1 ... up to 13 -> 6, above -> 7.
    sizes = torch.tensor([1.0, 1.01, 3.0, 3.01, 13.0, 13.01, 15.0], dtype=torch.float64)
    levels = torch.tensor([0.0, 1, 1, 2, 6, 7, 7], dtype=torch.float64)
    scale = (sizes * levels).sum() / levels.square().sum()
    found = weight(torch.cat([sizes, -sizes]), 4, "faqd")
    assert torch.allclose(found, scale * torch.cat([levels, -levels]))


def test_eight_bits_round_to_the_127th_part_of_each_channel_s_largest() -> None:
    weight_o = torch.tensor([[127.0, 0.6, -1.4], [12.7, 0.06, -0.14]])
    expected = torch.tensor([[127.0, 1.0, -1.0], [12.7, 0.1, -0.1]])
    assert torch.allclose(weight(weight_o, 8), expected)


def test_four_bits_are_no_worse_than_without_clipping() -> None:
    weight_o = weights(outputs=8)
    plain = weight_o.abs().amax(dim=(1, 2, 3), keepdim=True) / 7
    unclipped = plain * (weight_o / plain).round()
    errors = [(each - weight_o).square().sum(dim=(1, 2, 3)) for each in
              (weight(weight_o, 4), unclipped)]  # fmt: skip
    assert (errors[0] <= errors[1]).all()
    assert (errors[0] < errors[1]).any()


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 8]))
def test_each_channel_is_quantised_on_its_own(seed: int, bits: int) -> None:
    weight_o = weights(seed)
    whole = weight(weight_o, bits)
    alone = torch.cat([weight(weight_o[c : c + 1], bits) for c in range(len(weight_o))])
    assert torch.equal(whole, alone)


@given(st.sampled_from([2, 4, 8]), st.sampled_from(["edgekd", "faqd"]))
def test_zero_weights_stay_zero(bits: int, rule: str) -> None:
    assert torch.equal(weight(torch.zeros(2, 3), bits, rule), torch.zeros(2, 3))


def test_relative_errors_of_normal_weights_are_the_known_ones() -> None:
    weight_o = torch.randn(1, 100_000, generator=torch.Generator().manual_seed(0))
    error = [
        float((weight(weight_o, bits, rule) - weight_o).square().mean())
        for bits, rule in [(2, "edgekd"), (2, "faqd"), (1, "edgekd")]
    ]
    # The last: 1 - 2 / pi.
    assert error == pytest.approx([0.192, 0.337, 0.363], abs=4e-3)


def test_other_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="but 3 are asked for"):
        weight(weights(), 3)


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(1, False, (0, 1)), (2, False, (0, 3)), (4, False, (0, 15)), (8, False, (0, 255)),
     (1, True, (-1, 1)), (2, True, (-2, 1)), (8, True, (-128, 127))],
)  # fmt: skip
def test_bounds_of_activations(bits: int, expected: tuple[int, int], *, signed: bool) -> None:
    assert bounds(bits, signed=signed) == expected


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_activations_are_rounded_to_even_and_cut() -> None:
    values = torch.tensor([[-1.0, 0.0, 0.24, 0.25, 0.75, 1.2, 9.0]])
    found = activation(values, torch.tensor(0.5), 2, signed=False)
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.5]]))
    found = activation(values, torch.tensor(0.5), 2, signed=True)
    assert torch.equal(found, torch.tensor([[-1.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5]]))


def test_one_bit_with_signs_is_the_step_with_the_sign() -> None:
    found = activation(torch.tensor([[-3.0, -0.1, 0.0, 2.0]]), torch.tensor(0.5), 1, signed=True)
    assert torch.equal(found, torch.tensor([[-0.5, -0.5, 0.5, 0.5]]))


def test_gradients_are_those_of_the_lsq_paper_worked_out_by_hand() -> None:
    # Two images of four values; step 0.5, bounds 0 and 3, F = 4: scale 1 / sqrt(12).
    # v = -2, 0.6, 2.2, 8 -> q - v within: 0.4, -0.2; bounds outside: 0 and 3. Twice that: 6.4.
    values = torch.tensor([[-1.0, 0.3, 1.1, 4.0]] * 2, dtype=torch.float64).requires_grad_()
    step = scalar(0.5)
    activation(values, step, 2, signed=False).sum().backward()
    expected = torch.tensor([[0.0, 1.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    assert torch.equal(values.grad, expected)
    assert step.grad.item() == pytest.approx(6.4 / math.sqrt(12), rel=1e-12)


def test_a_step_that_fell_below_zero_still_gets_a_finite_gradient_that_lifts_it() -> None:
    step = scalar(-0.1)
    target = torch.ones(1, 4, dtype=torch.float64)
    found = activation(target, step, 4, signed=False)
    (found - target).square().sum().backward()
    assert found.isfinite().all()
    assert -math.inf < step.grad.item() < 0


def test_faqd_rounds_up() -> None:
    values = torch.tensor([[-1.0, 0.0, 0.01, 0.5, 0.51, 1.0, 1.01, 9.0]])
    found = activation(values, torch.tensor(0.5), 2, signed=False, rule="faqd")
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]]))


def test_faqd_s_gradients_are_those_of_its_rule_worked_out_by_hand() -> None:
    # Step 0.5, 2 bits: within (0, 1.5] the step's slope is 2, above 3, below 0: 0.01 * (2 + 2 + 3).
    values = torch.tensor([[-1.0, 0.3, 1.5, 1.6]], dtype=torch.float64).requires_grad_()
    step = scalar(0.5)
    activation(values, step, 2, signed=False, rule="faqd").sum().backward()
    expected = torch.tensor([[0.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(values.grad, expected)
    assert step.grad.item() == pytest.approx(0.07, rel=1e-12)


def test_faqd_s_step_and_its_gradient_are_cut() -> None:
    values = torch.full((1, 1000), 9.0, dtype=torch.float64)
    step = scalar(0.5)
    activation(values, step, 2, signed=False, rule="faqd").sum().backward()
    assert step.grad.item() == 1.0
    assert activation(values, scalar(50.0), 1, signed=False, rule="faqd").max().item() == 5.0


@given(
    seed=st.integers(0, 10**6),
    bits=st.sampled_from([1, 2, 4, 8]),
    signed=st.booleans(),
    step=st.floats(1e-3, 10.0),
)
def test_activations_are_whole_multiples_of_the_step(
    *, seed: int, bits: int, signed: bool, step: float
) -> None:
    values = 3 * torch.randn(2, 50, generator=torch.Generator().manual_seed(seed))
    found = activation(values, torch.tensor(step), bits, signed=signed)
    levels = found / torch.tensor(step)
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    low, high = bounds(bits, signed=signed)
    assert low - 1e-4 <= levels.min()
    assert levels.max() <= high + 1e-4


@given(st.integers(0, 10**6))
def test_quantising_activations_twice_changes_nothing(seed: int) -> None:
    values = torch.randn(2, 50, generator=torch.Generator().manual_seed(seed))
    once = activation(values, torch.tensor(0.25), 4, signed=True)
    assert torch.equal(activation(once, torch.tensor(0.25), 4, signed=True), once)


def test_straight_through_keeps_the_value_to_the_last_bit() -> None:
    value, real = torch.tensor(1 / 3), torch.tensor(1e9, requires_grad=True)
    found = quantisers.straight_through(value, real)
    found.backward()
    assert found.item() == value.item()
    assert real.grad.item() == 1.0
