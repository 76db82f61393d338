import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgekd.core.errors import CheckpointError
from edgekd.models.family import padding_shortcut
from edgekd.models.surgery import Kept, Surgery, channel_axis, replay

indices = st.sets(st.integers(0, 30), min_size=1).map(lambda found: tuple(sorted(found)))
kepts = st.builds(Kept, st.none() | indices, st.none() | indices)
surgeries = st.builds(
    Surgery,
    st.dictionaries(st.text(max_size=5), kepts, max_size=3),
    st.dictionaries(st.text(max_size=5), st.none() | indices, max_size=3),
)


def cut(part: nn.Module, kept: Kept) -> nn.Module:
    module = nn.Sequential(part)
    replay(module, Surgery({"0": kept}))
    return module[0]


def test_a_convolution_keeps_the_rows_and_columns_that_survive() -> None:
    part = nn.Conv2d(3, 4, 3)
    weight, bias = part.weight.detach().clone(), part.bias.detach().clone()
    result = cut(part, Kept(out=(0, 3), into=(1, 2)))
    assert torch.equal(result.weight, weight[[0, 3]][:, [1, 2]])
    assert torch.equal(result.bias, bias[[0, 3]])
    assert (result.out_channels, result.in_channels) == (2, 2)


def test_a_transposed_convolution_has_its_inputs_first() -> None:
    part = nn.ConvTranspose2d(3, 4, 2)
    weight = part.weight.detach().clone()
    result = cut(part, Kept(out=(0, 3), into=(1,)))
    assert torch.equal(result.weight, weight[[1]][:, [0, 3]])
    assert result(torch.zeros(1, 1, 2, 2)).shape == (1, 2, 3, 3)


def test_a_depthwise_convolution_loses_groups() -> None:
    result = cut(nn.Conv2d(6, 6, 3, groups=6), Kept(out=(1, 4), into=(1, 4)))
    assert (result.groups, result.in_channels, result.out_channels) == (2, 2, 2)
    assert result(torch.zeros(1, 2, 5, 5)).shape == (1, 2, 3, 3)


def test_each_group_of_a_grouped_convolution_keeps_its_own_inputs() -> None:
    part = nn.Conv2d(4, 6, 1, groups=2, bias=False)
    weight = part.weight.detach().clone()
    result = cut(part, Kept(out=(0, 2, 3, 5), into=(1, 2)))
    # Group 0 reads channels 0 and 1, of which 1 survives; group 1 reads 2 and 3, of which 2 does.
    assert torch.equal(result.weight[:2], weight[[0, 2]][:, [1]])
    assert torch.equal(result.weight[2:], weight[[3, 5]][:, [0]])
    assert result(torch.zeros(1, 2, 3, 3)).shape == (1, 4, 3, 3)


def test_groups_that_would_become_unequal_are_refused() -> None:
    with pytest.raises(CheckpointError, match="equally many"):
        cut(nn.Conv2d(4, 4, 1, groups=2), Kept(out=(0, 1, 2)))


def test_batch_normalisation_keeps_all_four_vectors_of_a_channel() -> None:
    part = nn.BatchNorm2d(4)
    for number, name in enumerate(("weight", "bias", "running_mean", "running_var")):
        getattr(part, name).data.copy_(torch.arange(4.0) + 10 * number)
    result = cut(part, Kept(out=(1, 3)))
    assert result.weight.tolist() == [1, 3]
    assert result.bias.tolist() == [11, 13]
    assert result.running_mean.tolist() == [21, 23]
    assert result.running_var.tolist() == [31, 33]
    assert result.num_features == 2


def test_a_linear_layer_a_layer_norm_and_a_prelu_change_their_sizes() -> None:
    linear = cut(nn.Linear(5, 3), Kept(out=(2,), into=(0, 4)))
    assert (linear.in_features, linear.out_features) == (2, 1)
    assert cut(nn.LayerNorm(4), Kept(out=(0, 1))).normalized_shape == (2,)
    assert cut(nn.PReLU(4), Kept(out=(0, 1))).num_parameters == 2


def test_a_bare_parameter_loses_channels_along_its_last_long_axis() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.arange(4.0).reshape(4, 1, 1))

    module = Scaled()
    assert channel_axis(module.scale) == 0
    replay(module, Surgery({"scale": Kept(out=(1, 3))}))
    assert module.scale.flatten().tolist() == [1, 3]


def test_what_is_frozen_or_fixed_stays_so() -> None:
    frozen = cut(nn.Linear(4, 4).requires_grad_(requires_grad=False), Kept(out=(1,)))
    assert not frozen.weight.requires_grad
    fixed = cut(padding_shortcut(4, 8, 2), Kept(out=(2, 3), into=(0,)))
    assert list(fixed.parameters()) == []
    assert fixed.weight.flatten().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"1": Kept(out=(0,))}, "'1', which the network lacks"),
        ({"0.conv": Kept(out=(0,))}, "'0.conv', which the network lacks"),
        ({"0": Kept(out=(0, 9))}, "does not fit '0': channel 9 of 3"),
    ],
)
def test_a_surgery_of_another_network_is_refused(kept: dict[str, Kept], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        replay(nn.Sequential(nn.Linear(2, 3)), Surgery(kept))


def test_a_layer_that_cannot_be_cut_is_refused() -> None:
    with pytest.raises(CheckpointError, match="a GRU cannot be cut"):
        cut(nn.GRU(2, 2), Kept(out=(0,)))


@given(surgeries)
def test_json_gives_the_same_surgery_back(surgery: Surgery) -> None:
    assert Surgery.from_json(surgery.to_json()) == surgery


@given(st.text(max_size=30) | st.sampled_from(["{}", "[]", "null", '{"schema_version": 1}']))
def test_anything_else_is_no_surgery(text: str) -> None:
    with pytest.raises(CheckpointError):
        Surgery.from_json(text)


@pytest.mark.parametrize("channels", ["[1,0]", "[0,0]", "[-1]", "[]", '["0"]', "[0.5]"])
def test_channels_that_do_not_rise_from_zero_are_refused(channels: str) -> None:
    text = f'{{"schema_version":1,"kept":{{"a":[{channels},null]}},"outputs":{{}}}}'
    with pytest.raises(CheckpointError, match="rising numbers"):
        Surgery.from_json(text)


def test_two_surgeries_in_a_row_are_one_in_the_first_network_s_channels() -> None:
    first = Surgery({"a": Kept((1, 3, 5, 7), None)}, {"b": (1, 3, 5, 7), "c": None})
    later = Surgery({"a": Kept((0, 2), (4,))}, {"b": (1,), "c": (0,), "d": (2,)})
    both = first.then(later)
    assert both.kept == {"a": Kept((1, 5), (4,))}
    assert both.outputs == {"b": (3,), "c": None, "d": (2,)}


def test_two_replays_equal_one_of_both() -> None:
    part = nn.Conv2d(1, 8, 1)
    twin = nn.Conv2d(1, 8, 1)
    twin.load_state_dict(part.state_dict())
    first, later = Surgery({"0": Kept((1, 3, 5, 7))}), Surgery({"0": Kept((0, 2))})
    stepwise, once = nn.Sequential(part), nn.Sequential(twin)
    replay(stepwise, first)
    replay(stepwise, later)
    replay(once, first.then(later))
    assert torch.equal(stepwise[0].weight, once[0].weight)


def test_kept_channels_of_a_block_come_from_its_output_and_of_a_layer_from_its_weights() -> None:
    surgery = Surgery({"layer1.0.conv2": Kept((0, 2))}, {"layer1.0": (0, 2)})
    assert surgery.kept_output("layer1.0") == (0, 2)
    assert surgery.kept_output("layer1.0.conv2") == (0, 2)
    assert surgery.kept_out("layer1.0.conv2") == (0, 2)
    assert surgery.kept_output("layer2") is None
