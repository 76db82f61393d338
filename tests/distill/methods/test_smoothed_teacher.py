import math

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekd.distill.methods.at import AT
from edgekd.distill.methods.smoothed_teacher import SmoothedTeacher, smooth
from tests.distill.methods.looks import maps, terms


def test_a_spot_is_spread_as_worked_out_by_hand() -> None:
    # exp(-1 / (2 sigma^2)) = 1/2: weights (1, 2, 1) / 4 along each axis
    spot = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    spot[:, 1, 2, 2] = 16
    found = smooth(spot, math.sqrt(1 / (2 * math.log(2))))
    assert not found[:, 0].any()
    expected = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64)
    assert torch.allclose(found[0, 1, 1:4, 1:4], expected)


def test_a_constant_map_stays_as_it_is() -> None:
    constant = torch.full((1, 2, 3, 4), 2.5, dtype=torch.float64)
    assert torch.allclose(smooth(constant, 0.8), constant, atol=1e-12)


@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_no_frequency_gains_energy(seed: int, sigma: float) -> None:
    before = maps(seed)
    after = smooth(before, sigma)
    one, other = (abs(scipy.fft.dctn(part.numpy(), axes=(2, 3))) for part in (before, after))
    assert (other <= one + 1e-9).all()


def test_the_highest_frequency_loses_most_of_its_energy() -> None:
    board = torch.tensor([1.0, -1.0, 1.0, -1.0]).double()
    board = (board[:, None] * board)[None, None]
    assert (smooth(board, 0.8)[..., 1:3, 1:3].abs() < 0.05).all()


@given(st.integers(0, 10**6))
def test_without_a_filter_it_is_at_times_the_number_of_positions(seed: int) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    expected = 25 * terms(AT(), student, teacher)["at"].item()
    found = terms(SmoothedTeacher(sigma=0.01), student, teacher)["smoothed_teacher"].item()
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_student_that_says_what_the_filter_leaves_has_nothing_to_learn() -> None:
    method = SmoothedTeacher()
    found = terms(method, smooth(maps(0), 0.8), maps(0))["smoothed_teacher"].item()
    assert found < 1e-12
    assert terms(method, maps(0), maps(0))["smoothed_teacher"].item() > 1e-3


def test_a_narrower_student_on_smaller_maps_is_served() -> None:
    student = maps(0, channels=3, side=2).requires_grad_()
    terms(SmoothedTeacher(), student, maps(1, side=4))["smoothed_teacher"].backward()
    assert student.grad.abs().sum() > 0


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = (maps(0, 2, 3, 3) + 0.1).requires_grad_(), maps(1, 2, 4, 3)
    assert torch.autograd.gradcheck(
        lambda values: terms(SmoothedTeacher(), values, teacher)["smoothed_teacher"], student
    )


@pytest.mark.parametrize(
    ("options", "message"), [({"sigma": 0}, "sigma must be > 0"), ({"layers": "x"}, "layers must")]
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SmoothedTeacher(**options)
