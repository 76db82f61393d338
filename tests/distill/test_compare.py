import pytest
import torch
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill import compare
from edgekd.distill.method import Outputs
from edgekd.models.surgery import Surgery


def said(*shapes: tuple[int, int, int]) -> Outputs:
    generator = torch.Generator().manual_seed(0)
    features = {
        f"layer{number}": torch.randn(2, *shape, generator=generator)
        for number, shape in enumerate(shapes)
    }
    return Outputs(torch.zeros(2, 3), features)


def test_stages_are_the_last_maps_of_each_size_whatever_their_channels() -> None:
    student = said((4, 8, 8), (6, 8, 8), (6, 4, 4), (6, 4, 8))
    assert compare.choose("x", student, "all") == ["layer0", "layer1", "layer2", "layer3"]
    assert compare.choose("x", student, "stages") == ["layer1", "layer2", "layer3"]
    assert compare.choose("x", student, "last") == ["layer3"]


def test_a_network_without_features_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"^sp compares features.*none.*method 'kd'"):
        compare.choose("sp", said(), "last")


def test_channels_that_pruning_kept_are_found() -> None:
    surgery = Surgery(outputs={"layer0": (0, 2)})
    indices_c = compare.kept("x", "layer0", said((2, 4, 4)), said((3, 4, 4)), surgery, "")
    assert indices_c is not None
    assert indices_c.tolist() == [0, 2]
    assert compare.select(torch.tensor([[5, 6, 7]]), indices_c).tolist() == [[5, 7]]


def test_an_unpruned_layer_keeps_all() -> None:
    pair = said((3, 4, 4)), said((3, 4, 4))
    assert compare.kept("x", "layer0", *pair, Surgery.none(), "") is None
    assert compare.select(torch.tensor([[5, 6]]), None).tolist() == [[5, 6]]


@pytest.mark.parametrize("indices", [None, (0,), (0, 3)])
def test_channels_that_do_not_fit_are_refused_with_the_way_out(
    indices: tuple[int, ...] | None,
) -> None:
    surgery = Surgery(outputs={"layer0": indices})
    with pytest.raises(UsageError, match=r"3 channels the student's 2 at 'layer0'.*Go home"):
        compare.kept("x", "layer0", said((2, 4, 4)), said((3, 4, 4)), surgery, "Go home")


def test_each_axis_is_averaged_down_to_the_smaller_of_both() -> None:
    tall, wide = torch.arange(8.0).view(1, 1, 4, 2), torch.arange(8.0).view(1, 1, 2, 4)
    one, other = compare.same_size(tall, wide)
    assert one.flatten().tolist() == [1, 2, 5, 6]  # rows in pairs: (0 + 2) / 2, ...
    assert other.flatten().tolist() == [0.5, 2.5, 4.5, 6.5]


def test_maps_of_one_size_are_left_alone() -> None:
    one, other = torch.ones(1, 2, 3, 3), torch.ones(1, 4, 3, 3)
    assert compare.same_size(one, other) == (one, other)


@pytest.mark.parametrize(
    ("indices", "rows"), [((1, 2), [[0, 0], [1, 0], [0, 1]]), (None, [[1, 0], [0, 1], [0, 0]])]
)
def test_an_adapter_starts_as_the_identity(
    indices: tuple[int, ...] | None, rows: list[list[float]]
) -> None:
    student, teacher = torch.ones(1, 2, 4, 4), torch.ones(1, 3, 4, 4)
    found = compare.adapter(student, teacher, Surgery(outputs={"a": indices}), "a")
    assert found.weight.flatten(1).tolist() == rows
    assert found.weight.requires_grad


def test_an_adapter_of_a_wider_student_starts_with_its_first_channels() -> None:
    student, teacher = torch.ones(1, 3, 4, 4), torch.ones(1, 2, 4, 4)
    found = compare.adapter(student, teacher, Surgery.none(), "a")
    assert found.weight.flatten(1).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_divergences_average_to_the_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=generator)
    each_n = compare.divergences(student, teacher, 3.0)
    assert each_n.shape == (4,)
    whole = compare.divergence(student, teacher, 3.0).item()
    assert each_n.mean().item() == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_numbers_that_are_none_are_refused_like_negative_ones(value: float) -> None:
    with pytest.raises(ValueError, match="rate must be > 0"):
        compare.check_positive("rate", value)
    with pytest.raises(ValueError, match="rate must be >= 0"):
        compare.check_not_negative("rate", value)


def test_attention_is_a_unit_vector_for_each_image() -> None:
    found: Tensor = compare.attention(said((3, 4, 4)).features["layer0"])
    assert found.shape == (2, 16)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
