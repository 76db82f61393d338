import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.fa import FeatureAffinity
from edgekd.models.surgery import Surgery

FORMS = ("ffa2", "ffa1", "fa1", "fa2")


def maps(seed: int, images: int = 3, channels: int = 6, side: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (images, channels, side, side)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def outputs(*features: Tensor) -> Outputs:
    named = {f"layer.{number}": feature for number, feature in enumerate(features)}
    return Outputs(torch.zeros(len(features[0]), 2), named)


def step(seed: int = 0) -> Step:
    return Step(0, 1, torch.Generator().manual_seed(seed))


def loss(form: str, student: Tensor, teacher: Tensor, seed: int = 0, **options: object) -> Tensor:
    method = FeatureAffinity(form=form, **options)
    pair = outputs(student), outputs(teacher)
    method.prepare(*pair, Surgery.none())
    return method(*pair, None, step(seed))["fa"]


def two_positions(cosine: float) -> Tensor:
    """One image with two positions whose channels have this cosine."""
    other = [cosine, math.sqrt(1 - cosine**2)]
    return torch.tensor([[1.0, 0.0], other], dtype=torch.float64).T.reshape(1, 2, 1, 2)


@pytest.mark.parametrize(
    ("form", "expected"),
    # D has 0 on the diagonal and 0.6 twice off it; P = 2.
    [("fa1", 2 * 0.6 / 4), ("fa2", math.sqrt(2 * 0.36) / 2)],
)
def test_paper_forms_match_a_value_worked_out_by_hand(form: str, expected: float) -> None:
    value = loss(form, two_positions(0.8), two_positions(0.2))
    assert value.item() == pytest.approx(expected, abs=1e-4)  # the epsilon of the lengths


@pytest.mark.parametrize(("form", "power"), [("ffa1", 1), ("ffa2", 2)])
def test_fast_forms_match_a_value_worked_out_by_hand(form: str, power: int) -> None:
    # D z = 0.6 * (z_2, z_1), whatever the order; P = 2.
    random_pr = torch.randn(2, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = (0.6 * random_pr).abs().pow(power).sum(dim=0).mean() / 4
    value = loss(form, two_positions(0.8), two_positions(0.2))
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("adapter", [False, True])
def test_loss_is_zero_for_equal_features_and_an_adapter_begins_as_the_identity(
    form: str, *, adapter: bool
) -> None:
    same = maps(0).relu()
    assert loss(form, same, same, adapter=adapter).item() == pytest.approx(0, abs=1e-15)


@given(st.integers(0, 10**6), st.sampled_from(FORMS))
def test_lengths_of_positions_do_not_matter(seed: int, form: str) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    scale = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) + 0.5
    expected = loss(form, student, teacher).item()
    assert loss(form, scale * student, teacher).item() == pytest.approx(expected, rel=1e-3)


@given(st.integers(0, 10**6), st.sampled_from(FORMS))
def test_rotations_and_permutations_of_channels_do_not_matter(seed: int, form: str) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    rotation = torch.linalg.qr(maps(seed + 2, 1, 1, 6)[0, 0]).Q
    turned = torch.einsum("dc,nchw->ndhw", rotation, student)
    expected = loss(form, student, teacher).item()
    assert loss(form, turned, teacher).item() == pytest.approx(expected, rel=1e-9)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert loss(form, student[:, order], teacher).item() == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 10**6), st.sampled_from(["fa1", "fa2"]))
def test_a_permutation_of_positions_in_both_does_not_matter(seed: int, form: str) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    moved = [each.flatten(2)[:, :, order].view_as(each) for each in (student, teacher)]
    expected = loss(form, student, teacher).item()
    assert loss(form, *moved).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_permutation_of_positions_in_one_is_noticed(form: str) -> None:
    assert loss(form, maps(0).flip(3), maps(0)).item() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_change_of_one_channel_s_scale_is_noticed(form: str) -> None:
    scale = torch.ones(6, dtype=torch.float64)
    scale[0] = 10
    assert loss(form, scale.view(1, 6, 1, 1) * maps(0), maps(0)).item() > 1e-3


@given(seed=st.integers(0, 10**6), relu=st.booleans())
def test_fa1_lies_between_0_and_2_and_below_1_behind_a_relu(*, seed: int, relu: bool) -> None:
    pair = [maps(seed), maps(seed + 1)]
    if relu:
        pair = [each.relu() for each in pair]
    assert 0 <= loss("fa1", *pair).item() <= (1 if relu else 2)
    assert loss("fa1", pair[0], -pair[0]).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_student_and_teacher_may_differ_in_channels(form: str) -> None:
    teacher = maps(0)
    doubled = torch.cat([teacher, teacher], dim=1)  # the same directions
    assert loss(form, doubled, teacher).item() == pytest.approx(0, abs=1e-4)
    assert loss(form, maps(1, channels=3), teacher).item() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_finite_where_all_channels_are_zero(form: str) -> None:
    student = maps(0)
    student[:, :, 0, 0] = 0
    student.requires_grad_()
    loss(form, student, torch.zeros_like(maps(1))).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_zero_and_not_nan_for_equal_features(form: str) -> None:
    student = maps(0).requires_grad_()
    loss(form, student, maps(0)).backward()
    assert student.grad.abs().max() < 1e-9


@pytest.mark.parametrize("form", FORMS)
def test_gradient_agrees_with_finite_differences(form: str) -> None:
    student, teacher = maps(0, 2, 3, 2).requires_grad_(), maps(1, 2, 3, 2)
    assert torch.autograd.gradcheck(lambda features: loss(form, features, teacher), student)


def test_ffa2_tends_to_the_square_of_fa2() -> None:
    pair = maps(0), maps(1)
    exact = loss("fa2", *pair).item() ** 2
    assert loss("ffa2", *pair, vectors=4000).item() == pytest.approx(exact, rel=0.05)


def test_ffa2_is_right_on_average_with_few_vectors() -> None:
    pair = maps(0), maps(1)
    exact = loss("fa2", *pair).item() ** 2
    mean = sum(loss("ffa2", *pair, seed=seed, vectors=1).item() for seed in range(2000)) / 2000
    assert mean == pytest.approx(exact, rel=0.05)


def test_ffa1_tends_to_the_rows_lengths() -> None:
    student, teacher = maps(0), maps(1)
    f, g = (torch.nn.functional.normalize(each.flatten(2), dim=1) for each in (student, teacher))
    rows = (f.mT @ f - g.mT @ g).norm(dim=2).sum(dim=1).mean() / 16**2
    expected = math.sqrt(2 / math.pi) * rows.item()
    assert loss("ffa1", student, teacher, vectors=4000).item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_the_batch_is_averaged_not_summed(form: str) -> None:
    student, teacher = maps(0), maps(1)
    twice = loss(form, student.repeat(2, 1, 1, 1), teacher.repeat(2, 1, 1, 1)).item()
    assert twice == pytest.approx(loss(form, student, teacher).item(), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("adapter", [False, True])
def test_only_the_step_s_generator_is_drawn_from(form: str, *, adapter: bool) -> None:
    before = torch.get_rng_state()
    values = [loss(form, maps(0), maps(1), seed=seed, adapter=adapter).item() for seed in (5, 5, 6)]
    assert torch.equal(torch.get_rng_state(), before)
    assert values[0] == values[1]
    assert (values[0] == values[2]) == (form in {"fa1", "fa2"})


def test_vectors_differ_from_step_to_step() -> None:
    method, pair, now = FeatureAffinity(), (outputs(maps(0)), outputs(maps(1))), step()
    method.prepare(*pair, Surgery.none())
    assert method(*pair, None, now)["fa"] != method(*pair, None, now)["fa"]


@pytest.mark.parametrize("form", ["fa1", "fa2"])
def test_large_maps_are_averaged_down_first(form: str) -> None:
    student, teacher = maps(0, side=8), maps(1, side=8)
    small = [torch.nn.functional.avg_pool2d(each, 2) for each in (student, teacher)]
    value = loss(form, student, teacher, max_positions=17).item()
    assert value == pytest.approx(loss(form, *small).item(), rel=1e-12)


@pytest.mark.parametrize(
    ("layers", "chosen"), [("stages", (1, 2)), ("last", (2,)), ("all", (0, 1, 2))]
)
def test_layers_are_chosen_and_summed(layers: str, chosen: tuple[int, ...]) -> None:
    student = [maps(0), maps(1), maps(2, side=2)]
    teacher = [maps(3), maps(4), maps(5, side=2)]
    expected = sum(loss("fa1", student[place], teacher[place]).item() for place in chosen)
    method = FeatureAffinity(form="fa1", layers=layers)
    pair = outputs(*student), outputs(*teacher)
    method.prepare(*pair, Surgery.none())
    found = method(*pair, None, step())["fa"].item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_adapters_learn_and_are_parameters_of_the_method() -> None:
    method = FeatureAffinity(adapter=True)
    pair = outputs(maps(0)), outputs(maps(1))
    method.prepare(*pair, Surgery.none())
    assert [tuple(each.shape) for each in method.parameters()] == [(6, 6, 1, 1), (6,)]
    method(*pair, None, step())["fa"].backward()
    assert all(each.grad.abs().sum() > 0 for each in method.parameters())
    assert (method.align, FeatureAffinity().align) == ("adapter", "agnostic")
    assert not list(FeatureAffinity().parameters())


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = maps(0).requires_grad_(), maps(1).requires_grad_()
    loss("ffa2", student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_labels_are_not_read(seed: int) -> None:
    pair = outputs(maps(seed)), outputs(maps(seed + 1))
    method = FeatureAffinity()
    method.prepare(*pair, Surgery.none())
    without = method(*pair, None, step())["fa"]
    assert torch.equal(without, method(*pair, torch.full((3,), -1), step())["fa"])


def test_maps_of_different_sizes_and_students_without_features_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\[4, 4\].*\[5, 5\]"):
        loss("fa1", maps(0), maps(1, side=5))
    nothing = Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="has none"):
        FeatureAffinity().prepare(nothing, nothing, Surgery.none())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "fa3"}, "form must be one of ffa2"),
        ({"layers": "first"}, "layers must be one of last"),
        ({"vectors": 0}, ">= 1, but are 0"),
        ({"max_positions": 0}, ">= 1, but are 15 and 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureAffinity(**options)
