import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.attention_crop import AttentionCrop, boxes, stretch
from edgekd.models.surgery import Surgery

PATH = "layer"
STEP = Step(0, 1, torch.Generator())


def noise(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def said(feature_nchw: Tensor, logits_nk: Tensor | None = None) -> Outputs:
    logits_nk = torch.zeros(len(feature_nchw), 3) if logits_nk is None else logits_nk
    return Outputs(logits_nk, {PATH: feature_nchw})


def crop(images_nchw: Tensor, feature_nchw: Tensor) -> Tensor:
    method, teacher = AttentionCrop(), said(feature_nchw)
    method.prepare(teacher, teacher, Surgery.none())

    def ask(_: Tensor) -> Outputs:
        pytest.fail("the teacher need not be asked")

    return method.perturb(images_nchw, None, teacher, ask, STEP)


def lit(*places: tuple[int, int], value: float = 1.0, side: int = 4) -> Tensor:
    """Return a map [1, 2, 4, 4] that is bright at some (row, column)."""
    feature = torch.zeros(1, 2, side, side)
    for row, column in places:
        feature[0, :, row, column] = value
    return feature


def test_the_box_holds_all_that_is_salient() -> None:
    # Row 1, columns 2 and 3: a quarter to a half from the top, a half to the right edge
    assert boxes(lit((1, 2), (1, 3)), 0.5).tolist() == [[0.5, 0.25, 1.0, 0.5]]
    assert boxes(lit((0, 3), (2, 0)), 0.5).tolist() == [[0.0, 0.0, 1.0, 0.75]]


def test_salience_is_measured_by_squares() -> None:
    # 0.6^2 = 0.36 is less than half of 1, 0.8^2 = 0.64 more
    weak, strong = (lit((0, 0)) + lit((3, 3), value=value) for value in (0.6, -0.8))
    assert boxes(weak, 0.5).tolist() == [[0.0, 0.0, 0.25, 0.25]]
    assert boxes(strong, 0.5).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert boxes(weak, 0.3).tolist() == [[0.0, 0.0, 1.0, 1.0]]


def test_a_teacher_that_looks_nowhere_sees_the_whole() -> None:
    assert boxes(lit(), 0.5).tolist() == [[0.0, 0.0, 1.0, 1.0]]


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_boxes_ignore_scale_and_mirror_with_the_map(seed: int, scale: float) -> None:
    feature = noise(seed, 3, 2, 5, 4)
    left, top, right, bottom = boxes(feature, 0.5).unbind(1)
    assert ((left < right) & (top < bottom)).all()
    mirrored = torch.stack([1 - right, top, 1 - left, bottom], dim=1)
    assert torch.allclose(boxes(scale * feature.flip(3), 0.5), mirrored)


def test_the_whole_box_changes_nothing() -> None:
    images = noise(0, 2, 3, 65, 70)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    assert torch.allclose(stretch(images, whole), images, atol=1e-9)


def test_a_stretched_ramp_is_the_ramp_of_its_box() -> None:
    # A pixel's middle lies at (i + 0.5) / 8. Columns 4 to 7 stretched twofold lie at
    # 4 + (i + 0.5) / 2 - 0.5; rows stay. The last one would lie beyond the last middle: held at 7.
    ramp = torch.arange(8.0).expand(1, 1, 8, 8).contiguous()
    found = stretch(ramp, torch.tensor([[0.5, 0.0, 1.0, 1.0]]))
    expected = [3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.0]
    assert found[0, 0, 5].tolist() == pytest.approx(expected, abs=1e-5)
    down = stretch(ramp.transpose(2, 3), torch.tensor([[0.0, 0.5, 1.0, 1.0]]))
    assert down[0, 0, :, 5].tolist() == pytest.approx(expected, abs=1e-5)


def test_each_image_is_cropped_where_its_own_attention_lies() -> None:
    # Each quarter of the images has a value of its own
    images = (
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat_interleave(32, 0).repeat_interleave(32, 1)
    )
    images = images.expand(2, 1, 64, 64).contiguous()
    before = images.clone()
    found = crop(images, torch.cat([lit((0, 1), side=2), lit((1, 0), side=2)]))
    # Away from the edges, where neighbours are mixed in
    assert (found[0, 0, 2:-2, 2:-2] == 2).all()
    assert (found[1, 0, 2:-2, 2:-2] == 3).all()
    assert found.shape == images.shape
    assert torch.equal(images, before)


@pytest.mark.parametrize(("height", "width"), [(63, 64), (64, 63), (32, 32)])
def test_small_images_are_refused_with_the_way_out(height: int, width: int) -> None:
    with pytest.raises(UsageError, match=rf"64 pixels.*{height}x{width}.*'kd'"):
        crop(torch.zeros(1, 3, height, width), lit((0, 0)))


def test_a_feature_of_one_position_is_refused() -> None:
    with pytest.raises(UsageError, match=r"single position.*'kd'"):
        crop(torch.zeros(1, 3, 64, 64), torch.ones(1, 2, 1, 1))


def test_a_student_without_features_is_refused() -> None:
    nothing = Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="attention_crop compares features"):
        AttentionCrop().prepare(nothing, nothing, Surgery.none())


def loss(student_nk: Tensor, closer_nk: Tensor, temperature: float = 4.0) -> Tensor:
    whole = Outputs(torch.full_like(closer_nk, 7), others=(Outputs(closer_nk),))
    return AttentionCrop(temperature=temperature)(Outputs(student_nk), whole, None, STEP)[
        "attention_crop"
    ]


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # T = 1, teacher of the crop (1/2, 1/2), student (1/4, 3/4): KL = 0.143841 (see kd)
    student, closer = torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert loss(student, closer, 1.0).item() == pytest.approx(0.143841, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.5, 20))
def test_loss_is_not_negative_and_zero_for_who_says_the_same(seed: int, temperature: float) -> None:
    student, closer = noise(seed, 5, 3), noise(seed + 1, 5, 3)
    assert loss(student, closer, temperature).item() > 0
    assert loss(closer, closer, temperature).item() == pytest.approx(0, abs=1e-12)


def test_gradient_agrees_with_finite_differences_and_spares_the_teacher() -> None:
    student, closer = noise(0, 5, 3).requires_grad_(), noise(1, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, closer), student)
    loss(student, closer).backward()
    assert closer.grad is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"threshold": 0.0}, r"threshold must lie in \(0, 1\]"),
        ({"threshold": 1.1}, r"threshold must lie in \(0, 1\]"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionCrop(**options)
