import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekd.landscape import curvature
from edgekd.landscape.loss import CrossEntropy, moved, parameters, value
from tests.landscape.toys import Quadratic, images, net


def double(*rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


MATRIX = double([2.0, 1.0], [1.0, 2.0])  # eigenvalues 3 and 1
HERE = {"w": double(1.0, -1.0)}


def test_the_top_eigenvalue_of_a_quadratic_is_exact() -> None:
    found = curvature.top_eigenvalue(Quadratic(MATRIX), HERE, seed=0, tolerance=1e-12)
    assert found.value == pytest.approx(3.0, rel=1e-9)
    assert found.converged
    assert found.iterations < 50


def test_the_eigenvalue_of_largest_magnitude_keeps_its_sign() -> None:
    loss = Quadratic(torch.diag(double(-5.0, 2.0)))
    assert curvature.top_eigenvalue(loss, HERE, seed=0).value == pytest.approx(-5.0, rel=1e-3)


def test_an_iteration_that_is_cut_short_says_so() -> None:
    found = curvature.top_eigenvalue(Quadratic(MATRIX), HERE, seed=0, tolerance=1e-12, most=2)
    assert not found.converged
    assert found.iterations == 2


def test_a_flat_loss_has_the_eigenvalue_0() -> None:
    found = curvature.top_eigenvalue(Quadratic(0 * MATRIX, double(1.0, 1.0)), HERE, seed=0)
    assert found.value == 0.0
    assert found.converged


def test_the_trace_of_a_diagonal_hessian_is_exact() -> None:
    found = curvature.trace(Quadratic(torch.diag(double(3.0, -1.0))), HERE, seed=0, probes=3)
    assert found.value == pytest.approx(2.0, rel=1e-12)
    assert found.error == pytest.approx(0.0, abs=1e-12)


def test_the_standard_error_of_the_trace_is_that_of_its_probes() -> None:
    # v H v is 6 or 2, half of the time each: mean 4, deviation 2.
    found = curvature.trace(Quadratic(MATRIX), HERE, seed=0, probes=400)
    assert found.error == pytest.approx(2 / math.sqrt(400), rel=0.05)
    assert abs(found.value - 4.0) < 4 * found.error


def test_a_product_with_the_hessian_is_the_change_of_the_gradient() -> None:
    module = net().double()
    images_nchw, labels_n = images()
    loss, weights = CrossEntropy(module, [(images_nchw.double(), labels_n)]), parameters(module)
    along = {name: torch.randn_like(tensor) for name, tensor in weights.items()}
    product = curvature.hessian_product(loss, weights, along)
    step = 1e-5
    up, down = (curvature.gradient(loss, moved(weights, along, s)) for s in (step, -step))
    for name, tensor in product.items():
        torch.testing.assert_close(
            tensor, (up[name] - down[name]) / (2 * step), rtol=1e-5, atol=1e-8
        )


def test_the_gradient_is_worked_out_by_hand() -> None:
    # A w + b
    found = curvature.gradient(Quadratic(MATRIX, double(0.5, 0.0)), HERE)["w"]
    assert found.tolist() == [1.5, -1.0]


def test_sharpness_is_the_rise_after_one_step_uphill() -> None:
    # L = 2 x^2 at x = 1: uphill is to the right, 2 * 1.5^2 - 2.
    loss = Quadratic(double([4.0]))
    assert curvature.sharpness(loss, {"w": double(1.0)}, rho=0.5) == pytest.approx(2.5)
    assert curvature.sharpness(loss, {"w": double(0.0)}, rho=0.5) == 0.0


@given(st.floats(0.01, 1.0), st.floats(0, 2 * math.pi))
def test_no_step_of_that_length_rises_more_where_the_loss_is_linear(
    rho: float, angle: float
) -> None:
    loss = Quadratic(0 * MATRIX, double(2.0, -1.0))
    elsewhere = moved(HERE, {"w": double(math.cos(angle), math.sin(angle))}, rho)
    rise = value(loss, elsewhere) - value(loss, HERE)
    assert curvature.sharpness(loss, HERE, rho) >= rise - 1e-9


def test_one_seed_gives_one_result() -> None:
    module = net()
    loss, weights = CrossEntropy(module, [images()]), parameters(module)
    assert curvature.top_eigenvalue(loss, weights, 3) == curvature.top_eigenvalue(loss, weights, 3)
    assert curvature.trace(loss, weights, 3) == curvature.trace(loss, weights, 3)
    assert curvature.trace(loss, weights, 3) != curvature.trace(loss, weights, 4)


def test_a_weight_that_plays_no_part_has_no_curvature() -> None:
    weights = {**HERE, "idle": double(1.0, 2.0, 3.0)}
    product = curvature.hessian_product(Quadratic(MATRIX), weights, weights)
    assert product["idle"].tolist() == [0.0, 0.0, 0.0]
    assert product["w"].tolist() == [1.0, -1.0]
