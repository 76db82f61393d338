import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.boundary import Boundary, _triplet
from edgekd.models.surgery import Surgery

PATH = "layer"
LABELS = torch.arange(8) % 3


def step(epoch: int = 0, epochs: int = 4) -> Step:
    return Step(epoch, epochs, torch.Generator())


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def outputs(seed: int, moved: int = 2, images: int = 8) -> Outputs:
    """Return what a network says about 8 images and 2 moved ones."""
    other = Outputs(noise(seed, moved, 3), {PATH: noise(seed + 1, moved, 6, 2, 2)})
    return Outputs(noise(seed + 2, images, 3), {PATH: noise(seed + 3, images, 6, 2, 2)}, (other,))


def ready(**options: float) -> Boundary:
    method = Boundary(**options)
    method.prepare(outputs(0), outputs(0), Surgery.none())
    return method


class Linear(nn.Module):
    """A linear teacher of 3 classes on 1 x 2 x 2 pixels that counts its looks."""

    def __init__(self, weight_kp: Tensor) -> None:
        super().__init__()
        self.weight_kp = nn.Parameter(weight_kp)
        self.looks = 0

    def forward(self, images_nchw: Tensor) -> Outputs:
        self.looks += 1
        return Outputs(images_nchw.flatten(1) @ self.weight_kp.T)


def attack(teacher: Linear, images_nchw: Tensor, labels_n: Tensor, **options: float) -> Tensor:
    with torch.no_grad():
        said = teacher(images_nchw)
        teacher.looks = 0
        return ready(**options).perturb(images_nchw, labels_n, said, teacher, step())


def lead(teacher: Linear, images_nchw: Tensor, labels_n: Tensor, rivals_n: Tensor) -> Tensor:
    logits_nk = teacher(images_nchw).logits_nk.detach()
    rows = torch.arange(len(logits_nk))
    return logits_nk[rows, labels_n] - logits_nk[rows, rivals_n]


def test_one_image_takes_the_steps_worked_out_by_hand() -> None:
    # l = x0 - x1 = 1, so |g|^2 = 2. Each step takes 0.3 (l + 0.1) off l: after t steps it is
    # 1.1 * 0.7^t - 0.1, below 0 for the first time after 7: -0.009410.
    teacher = Linear(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
    image = torch.tensor([1.0, 0, 5, 6]).view(1, 1, 2, 2)
    found = attack(teacher, image, torch.tensor([0])).flatten()
    expected = (1 + 1.1 * 0.7**7 - 0.1) / 2
    assert found.tolist() == pytest.approx([expected, 1 - expected, 5, 6], abs=1e-5)
    assert teacher.looks == 8


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_moved_images_lie_at_the_boundary_of_a_linear_teacher(seed: int) -> None:
    teacher, images = Linear(noise(seed, 3, 4)), noise(seed + 1, 12, 1, 2, 2)
    order = teacher(images).logits_nk.detach().argsort(dim=1, descending=True)
    labels, rivals = order[:, 0], order[:, 1]
    moved = attack(teacher, images, labels, share=1.0)
    before, after = (lead(teacher, x, labels, rivals) for x in (images, moved))
    assert (before > 0).all()
    # 10 steps of 30 % leave 2.8 % of the way; the last step goes at most 0.03 too far.
    assert (after <= 0.029 * before + 1e-3).all()
    assert (after >= -0.031).all()


def test_an_image_that_the_teacher_gets_wrong_stays() -> None:
    teacher, images = Linear(noise(0, 3, 4)), noise(1, 8, 1, 2, 2)
    wrong = teacher(images).logits_nk.argmin(dim=1)
    assert torch.equal(attack(teacher, images, wrong, share=1.0), images)
    assert teacher.looks == 1


@pytest.mark.parametrize(("images", "moved"), [(16, 4), (7, 1), (2, 1)])
def test_the_first_quarter_is_moved_and_the_batch_stays(images: int, moved: int) -> None:
    teacher, batch = Linear(noise(0, 3, 4)), noise(1, images, 1, 2, 2)
    labels, before = teacher(batch).logits_nk.argmax(dim=1), batch.clone()
    found = attack(teacher, batch, labels)
    assert found.shape == (moved, 1, 2, 2)
    assert torch.equal(batch, before)
    assert not torch.isclose(found, batch[:moved]).flatten(1).all(dim=1).any()


def test_the_attack_leaves_nothing_behind() -> None:
    teacher, images = Linear(noise(0, 3, 4)), noise(1, 8, 1, 2, 2)
    found = attack(teacher, images, teacher(images).logits_nk.argmax(dim=1))
    assert not found.requires_grad
    assert not images.requires_grad
    assert teacher.weight_kp.grad is None


def test_a_flat_teacher_moves_nothing_far() -> None:
    teacher = Linear(torch.zeros(3, 4, dtype=torch.float64))
    images = noise(1, 4, 1, 2, 2)
    assert torch.equal(attack(teacher, images, torch.zeros(4, dtype=torch.int64)), images[:1])


def test_boundary_is_the_divergence_on_moved_images() -> None:
    # T = 1, teacher (1/2, 1/2), student (1/4, 3/4): KL = 0.143841 (see kd), weighed by 2
    def said(moved: list[float]) -> Outputs:
        features = {PATH: noise(0, 1, 2, 1, 1)}
        other = Outputs(torch.tensor([moved]).log(), features)
        return Outputs(torch.zeros(1, 2), features, (other,))

    method = Boundary(temperature=1.0)
    student, teacher = said([0.25, 0.75]), said([0.5, 0.5])
    method.prepare(student, teacher, Surgery.none())
    term = method(student, teacher, torch.tensor([0]), step())["boundary"]
    assert term.item() == pytest.approx(0.287682, abs=1e-6)


@pytest.mark.parametrize(("epoch", "share"), [(3, 2 / 3), (6, 1 / 3), (9, 0.0), (11, 0.0)])
def test_boundary_decays_to_nothing_at_three_quarters(epoch: int, share: float) -> None:
    method = ready()
    start = method(outputs(0), outputs(9), LABELS, step(0, 12))
    found = method(outputs(0), outputs(9), LABELS, step(epoch, 12))
    assert found["boundary"].item() == pytest.approx(share * start["boundary"].item())
    assert found["boundary_triplet"].item() == start["boundary_triplet"].item()


def test_triplet_matches_a_value_worked_out_by_hand() -> None:
    # Unit vectors. Anchor (1, 0), same class (0.6, 0.8): 0.16 + 0.64 = 0.8; another class does not
    # count; moved (0.8, 0.6): 0.04 + 0.36 = 0.4; margin 0.2: 0.8 - 0.4 + 0.2 = 0.6
    unit = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    found = _triplet(unit, torch.tensor([[0.8, 0.6]]), torch.tensor([4, 4, 1]), 0.2)
    assert found.item() == pytest.approx(0.6, abs=1e-6)


def test_triplet_takes_the_farthest_of_the_class() -> None:
    unit = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    found = _triplet(unit, torch.tensor([[0.8, 0.6]]), torch.tensor([4, 4, 4]), 0.2)
    assert found.item() == pytest.approx(4 - 0.4 + 0.2, abs=1e-6)


def test_a_satisfied_margin_costs_nothing_and_pulls_nowhere() -> None:
    unit = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    found = _triplet(unit, torch.tensor([[0.0, 1.0]]), torch.tensor([1, 1]), 0.2)
    found.backward()
    assert found.item() == 0
    assert unit.grad is not None
    assert not unit.grad.any()


def test_an_image_alone_in_its_class_is_its_own_positive() -> None:
    unit = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = _triplet(unit, torch.tensor([[1.0, 0.0]]), torch.tensor([0, 1]), 0.2)
    assert found.item() == pytest.approx(0.2, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_triplet_ignores_the_scale_of_features(seed: int, scale: float) -> None:
    def scaled(said: Outputs) -> Outputs:
        others = tuple(scaled(other) for other in said.others)
        return Outputs(said.logits_nk, {PATH: scale * said.features[PATH]}, others)

    method, teacher = ready(), outputs(1)
    one, other = (
        method(said, teacher, LABELS, step())["boundary_triplet"].item()
        for said in (outputs(seed), scaled(outputs(seed)))
    )
    assert other == pytest.approx(one, rel=1e-9, abs=1e-12)


def test_gradient_agrees_with_finite_differences() -> None:
    method, teacher = ready(margin=4.0), outputs(9)

    def total(logits_mk: Tensor, moved_mchw: Tensor, feature_nchw: Tensor) -> Tensor:
        other = Outputs(logits_mk, {PATH: moved_mchw})
        student = Outputs(noise(5, 8, 3), {PATH: feature_nchw}, (other,))
        return sum(method(student, teacher, LABELS, step()).values())

    inputs = [noise(0, 2, 3), noise(1, 2, 6, 2, 2), noise(2, 8, 6, 2, 2)]
    assert torch.autograd.gradcheck(total, [values.requires_grad_() for values in inputs])


def test_constant_features_give_finite_gradients() -> None:
    feature = torch.zeros(8, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    other = Outputs(noise(0, 2, 3), {PATH: feature[:2]})
    terms = ready()(Outputs(noise(1, 8, 3), {PATH: feature}, (other,)), outputs(0), LABELS, step())
    sum(terms.values()).backward()
    assert feature.grad is not None
    assert feature.grad.isfinite().all()


def test_a_student_without_features_is_refused() -> None:
    nothing = Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="boundary compares features"):
        Boundary().prepare(nothing, nothing, Surgery.none())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"share": 0.0}, r"share must lie in \(0, 1\]"),
        ({"boundary_weight": -1.0}, "boundary_weight must be >= 0"),
        ({"triplet_weight": -1.0}, "triplet_weight must be >= 0"),
        ({"margin": -1.0}, "margin must be >= 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Boundary(**options)
