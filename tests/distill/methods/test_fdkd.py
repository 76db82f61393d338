from collections.abc import Sequence
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core import specs
from edgekd.core.errors import UsageError
from edgekd.distill.compare import divergence
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.fdkd import FDKD
from edgekd.distill.taps import Tapped
from edgekd.models.build import build
from edgekd.models.surgery import Surgery
from edgekd.prune import channels

STEP = Step(0, 1, torch.Generator())
MODES = ("channel", "spatial", "per_channel_spatial", "moments")


def maps(seed: int, images: int = 3, channels: int = 6, side: int = 5) -> Tensor:
    """ReLU-like features."""
    generator = torch.Generator().manual_seed(seed)
    shape = (images, channels, side, side)
    return torch.randn(shape, generator=generator, dtype=torch.float64).relu()


def outputs(*features: Tensor) -> Outputs:
    named = {f"layer{number}": feature for number, feature in enumerate(features)}
    return Outputs(torch.zeros(len(features[0]), 2), named)


def compare(
    method: FDKD,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    surgery: Surgery | None = None,
) -> dict[str, Tensor]:
    pair = outputs(*student), outputs(*teacher)
    method.prepare(*pair, surgery or Surgery.none())
    return method(*pair, None, STEP)


def loss(mode: str, student: Tensor, teacher: Tensor, tau: float = 2.0) -> Tensor:
    return compare(FDKD(modes=[mode], temperature=tau), [student], [teacher])[f"fdkd_{mode}"]


def test_channel_matches_a_value_worked_out_by_hand() -> None:
    # Two channels of pooled means (3, 1) and (1, 3): standardised (1, -1) and (-1, 1). tau = 1:
    # P_T = (1, e^2) / (1 + e^2) for the teacher, reversed for the student;
    # KL = tanh(1) * 2 = 1.523188.
    student = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    teacher = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    assert loss("channel", student, teacher, 1.0).item() == pytest.approx(1.523188, abs=1e-5)


def test_spatial_matches_a_value_worked_out_by_hand() -> None:
    # 16 positions; the energy is 4 on one half and 0 on the other: standardised (1, -1). tau = 2:
    # each half has mass 1/2 +- tanh(1/2) / 2, so tau^2 KL = 4 * tanh(1/2) * 1 = 1.848469.
    teacher = torch.zeros(1, 1, 4, 4)
    teacher[..., :2] = 2
    student = teacher.flip(3)
    assert loss("spatial", student, teacher, 2.0).item() == pytest.approx(1.848469, abs=1e-5)


def test_per_channel_spatial_matches_a_value_worked_out_by_hand() -> None:
    # 16 positions; one half has value 1, the other -1, each channel; tau = 1: as above without the
    # factor, 2 * tanh(1) = 1.523188.
    teacher = torch.ones(2, 3, 4, 4)
    teacher[..., 2:] = -1
    value = loss("per_channel_spatial", teacher.flip(3), teacher, 1.0)
    assert value.item() == pytest.approx(1.523188, abs=1e-5)


def test_moments_match_a_value_worked_out_by_hand() -> None:
    # One channel: teacher of mean 0 and variance 1, student of mean 1 and variance 4, with a floor
    # of 0.010001: 1 / 1.010001 + (ln 4.010001 - ln 1.010001)^2 / 4 = 1.465398.
    teacher = torch.tensor([1.0, -1.0]).view(1, 1, 1, 2)
    value = loss("moments", 1 + 2 * teacher, teacher)
    assert value.item() == pytest.approx(1.465398, abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_loss_is_exactly_zero_for_equal_features(mode: str) -> None:
    assert loss(mode, maps(0), maps(0)).item() == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_loss_and_gradient_are_finite_for_constant_maps(mode: str, value: float) -> None:
    student = torch.full((2, 3, 4, 4), value, dtype=torch.float64).requires_grad_()
    result = loss(mode, student, maps(0, 2, 3, 4))
    result.backward()
    assert result.isfinite()
    assert student.grad.isfinite().all()
    assert loss(mode, maps(0, 2, 3, 4), student.detach()).isfinite()


@given(st.integers(0, 10**6), st.sampled_from(MODES), st.floats(0.5, 8))
def test_loss_is_not_negative(seed: int, mode: str, tau: float) -> None:
    assert loss(mode, maps(seed), maps(seed + 1), tau).item() >= -1e-12


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-3, 3))
def test_channel_ignores_where_and_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(seed))
    moved = student.flatten(2)[:, :, order].view_as(student)
    expected = loss("channel", student, teacher).item()
    assert loss("channel", moved, teacher).item() == pytest.approx(expected, rel=1e-9)
    scaled = loss("channel", scale * student + offset, teacher).item()
    assert scaled == pytest.approx(expected, rel=1e-3, abs=1e-5)  # the epsilon of s


def test_channel_notices_a_permutation_of_channels() -> None:
    student, teacher = maps(0), maps(1)
    assert loss("channel", teacher[:, [1, 0, 2, 3, 4, 5]], teacher).item() > 1e-3
    del student


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_spatial_ignores_which_channel_and_scale(seed: int, scale: float) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    expected = loss("spatial", student, teacher).item()
    changed = loss("spatial", scale * student[:, order], teacher).item()
    assert changed == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_spatial_notices_a_permutation_of_positions() -> None:
    assert loss("spatial", maps(0).flip(3), maps(0)).item() > 1e-3


def test_spatial_compares_maps_of_different_numbers_of_channels() -> None:
    teacher = maps(0)
    student = torch.cat([teacher, teacher], dim=1)  # the same mean energy
    assert loss("spatial", student, teacher).item() == pytest.approx(0, abs=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0, 4.0]))
def test_gradient_at_the_standardised_vector_is_bounded_by_twice_tau(seed: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = (5 * torch.randn(1, 40, generator=generator, dtype=torch.float64)).requires_grad_()
    teacher = 5 * torch.randn(1, 40, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(divergence(student, teacher, tau), student)
    expected = tau * ((student / tau).softmax(1) - (teacher / tau).softmax(1))
    assert torch.allclose(gradient, expected.detach(), atol=1e-10)
    assert gradient.abs().sum() <= 2 * tau + 1e-9


@pytest.mark.parametrize("mode", MODES)
def test_gradient_agrees_with_finite_differences(mode: str) -> None:
    student, teacher = (maps(0, 2, 3, 4) + 0.1).requires_grad_(), maps(1, 2, 3, 4)
    assert torch.autograd.gradcheck(lambda features: loss(mode, features, teacher), student)


@pytest.mark.parametrize("mode", ["channel", "per_channel_spatial", "moments"])
def test_channels_that_pruning_kept_are_compared_with_their_own(mode: str) -> None:
    teacher, kept = maps(0), (0, 2, 3, 5)
    student = teacher[:, kept]
    method = FDKD(modes=[mode])
    terms = compare(method, [student], [teacher], Surgery(outputs={"layer0": kept}))
    assert terms[f"fdkd_{mode}"].item() == 0


@pytest.mark.parametrize("mode", ["channel", "per_channel_spatial", "moments"])
def test_wrong_channels_raise_the_loss(mode: str) -> None:
    teacher = maps(0)
    surgery = Surgery(outputs={"layer0": (0, 1, 2, 3)})
    terms = compare(FDKD(modes=[mode]), [teacher[:, (0, 2, 3, 5)]], [teacher], surgery)
    assert terms[f"fdkd_{mode}"].item() > 1e-3


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = maps(0).requires_grad_(), maps(1).requires_grad_()
    sum(compare(FDKD(modes=MODES), [student], [teacher]).values()).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_it_has_no_parameters() -> None:
    assert not list(FDKD(modes=MODES).parameters())


def test_last_compares_the_last_layer_alone() -> None:
    student, teacher = [maps(0), maps(1)], [maps(2), maps(1)]
    terms = compare(FDKD(layers="last"), student, teacher)
    assert {name: term.item() for name, term in terms.items()} == {
        "fdkd_channel": 0,
        "fdkd_spatial": 0,
    }


@pytest.mark.parametrize(
    ("weights", "shares"), [("uniform", (1 / 2, 1 / 2)), ("depth", (1 / 3, 2 / 3))]
)
def test_layers_are_weighed_so_that_the_weights_sum_to_one(
    weights: str, shares: tuple[float, float]
) -> None:
    student, teacher = [maps(0), maps(1)], [maps(2), maps(3)]
    parts = [loss("channel", s, t).item() for s, t in zip(student, teacher, strict=True)]
    method = FDKD(modes=["channel"], layers="all", layer_weights=weights)
    expected = sum(share * part for share, part in zip(shares, parts, strict=True))
    found = compare(method, student, teacher)["fdkd_channel"].item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_maps_of_few_positions_are_left_out_of_spatial_but_not_of_channel() -> None:
    student, teacher = [maps(0), maps(1, side=3)], [maps(2), maps(3, side=3)]
    terms = compare(FDKD(layers="all"), student, teacher)
    assert terms["fdkd_spatial"].item() == loss("spatial", student[0], teacher[0]).item()
    assert terms["fdkd_channel"].item() != loss("channel", student[0], teacher[0]).item()


def test_a_mode_without_any_layer_is_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r'16 positions.*\[3, 3\].*layers = "all"'):
        compare(FDKD(), [maps(0, side=3)], [maps(1, side=3)])


def test_channels_of_unknown_origin_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r'6 channels.*4.*modes = \["spatial"\]'):
        compare(FDKD(), [maps(0)[:, :4]], [maps(1)])


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\[5, 5\].*\[4, 4\]"):
        compare(FDKD(), [maps(0)], [maps(1, side=4)])


def test_a_student_without_features_is_refused() -> None:
    nothing = Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="has none"):
        FDKD().prepare(nothing, nothing, Surgery.none())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": ["chanel"]}, "Did you mean 'channel'"),
        ({"modes": []}, "list of different names"),
        ({"modes": "channel"}, "list of different names"),
        ({"modes": ["channel", "channel"]}, "list of different names"),
        ({"layers": "first"}, "layers must be one of last, all"),
        ({"layer_weights": "equal"}, "layer_weights must be one of"),
        ({"temperature": 0}, "temperature must be > 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FDKD(**options)


def test_spatial_alone_needs_no_match_of_channels() -> None:
    assert FDKD(modes=["spatial"]).align == "agnostic"
    assert FDKD().align == "index"


def test_a_pruned_teacher_says_the_same_at_the_first_pruned_layer_and_not_deeper() -> None:
    teacher = build("digits_resnet", 10).eval()
    student = deepcopy(teacher)
    surgery = channels.prune(student, (1, 8, 8), specs.Prune(criterion="random", macs=0.5))
    paths = ["layer1.0.relu1", "layer2.0"]
    images_nchw = torch.randn(4, 1, 8, 8)
    pair = [Outputs(*Tapped(module, paths)(images_nchw)) for module in (student, teacher)]
    losses = []
    for path in paths:
        method = FDKD(modes=["channel"])
        one, other = (Outputs(o.logits_nk, {path: o.features[path]}) for o in pair)
        method.prepare(one, other, surgery)
        losses.append(method(one, other, None, STEP)["fdkd_channel"].item())
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[1] > 1e-3
