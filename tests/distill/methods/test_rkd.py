import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill.methods.rkd import RKD
from tests.distill.methods.looks import maps, terms


def points(*rows: tuple[float, ...]) -> Tensor:
    """Return features of one position whose channels are the coordinates."""
    return torch.tensor(rows, dtype=torch.float64)[:, :, None, None]


def test_distances_match_a_value_worked_out_by_hand() -> None:
    # Student 0, 1, 3: distances 1, 2, 3 over their mean 2. Teacher 0, 1, 2: 1, 1, 2 over 4/3.
    # Two pairs differ by 1/4: 4 of 9 entries give (1/4)^2 / 2, times 25: 0.347222.
    found = terms(RKD(), points((0,), (1,), (3,)), points((0,), (1,), (2,)))
    assert found["rkd"].item() == pytest.approx(0.347222, abs=1e-6)
    assert found["rkd_angle"].item() == pytest.approx(0, abs=1e-12)


def test_angles_match_a_value_worked_out_by_hand() -> None:
    # A right angle with equal legs has cosines 0, r, r (r = sqrt 1/2); three points in line have
    # 1, -1, 1. Smooth L1 of 1, 1 + r and 1 - r is 1/2, 1/2 + r and (1 - r)^2 / 2, in all 1.75,
    # each twice among 27 entries: 50 * 3.5 / 27 = 6.481481.
    corner, line = points((0, 0), (1, 0), (0, 1)), points((0, 0), (1, 0), (2, 0))
    assert terms(RKD(), corner, line)["rkd_angle"].item() == pytest.approx(6.481481, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
def test_loss_ignores_rotation_scale_and_offset_of_the_embedding(
    seed: int, scale: float, offset: float
) -> None:
    student, teacher = maps(seed, 4, 6, 1), maps(seed + 1, 4, 6, 1)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    turned = (scale * student.flatten(1) @ turn + offset)[:, :, None, None]
    one, other = terms(RKD(), student, teacher), terms(RKD(), turned, teacher)
    for name, value in one.items():
        assert other[name].item() == pytest.approx(value.item(), rel=1e-6, abs=1e-9)


def test_maps_are_averaged_over_positions_and_widths_need_not_match() -> None:
    student = maps(0, channels=3, side=2)
    teacher = torch.cat([student, student], dim=1).mean(dim=(2, 3), keepdim=True)
    found = terms(RKD(), student, teacher)
    assert sum(found.values()).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("same", [2, 4])
def test_gradient_is_finite_and_of_sane_size_where_embeddings_coincide(same: int) -> None:
    student = maps(0, 4, 3, 1)
    student[:same] = student[0]
    student.requires_grad_()
    loss = sum(terms(RKD(), student, maps(1, 4, 3, 1)).values())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.abs().max() < 1e3


def test_a_teacher_whose_embeddings_all_coincide_gives_a_finite_loss() -> None:
    found = terms(RKD(), maps(0, 4, 3, 1), torch.ones(4, 3, 1, 1, dtype=torch.float64))
    assert sum(found.values()).isfinite()


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = (maps(0, 4, 5, 1) + 0.1).requires_grad_(), maps(1, 4, 3, 1)
    assert torch.autograd.gradcheck(
        lambda values: sum(terms(RKD(), values, teacher).values()), student
    )


def test_weights_multiply_their_terms_and_an_angle_of_0_is_not_computed() -> None:
    one, double = RKD(distance=1, angle=1), RKD(distance=2, angle=0)
    first, second = (terms(method, maps(0), maps(1)) for method in (one, double))
    assert second["rkd"].item() == pytest.approx(2 * first["rkd"].item(), rel=1e-12)
    assert "rkd_angle" not in second


@pytest.mark.parametrize("name", ["distance", "angle"])
def test_a_negative_weight_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 0"):
        RKD(**{name: -1})
