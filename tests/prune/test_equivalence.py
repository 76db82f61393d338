import pytest
import torch
from torch import Tensor, nn

from edgekd.models.build import build
from edgekd.models.surgery import Kept, Surgery
from edgekd.prune import equivalence

SHAPE = (3, 4, 4)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )


def pixels(*channels: int) -> tuple[int, ...]:
    return tuple(pixel for channel in channels for pixel in range(16 * channel, 16 * channel + 16))


def cut(readers: tuple[int, ...]) -> Surgery:
    return Surgery({"0": Kept((0, 2)), "1": Kept((0, 2)), "4": Kept(None, readers)})


def test_a_sound_cut_has_no_fault() -> None:
    assert equivalence.fault(plain(), cut(pixels(0, 2)), SHAPE) is None


def test_readers_of_other_channels_are_found_though_the_shapes_fit() -> None:
    # Read row by row instead of channel by channel: the mistake of flattening.
    fault = equivalence.fault(plain(), cut(pixels(0, 1)), SHAPE)
    assert fault == "the layers that read them read other channels"


def test_shapes_that_do_not_fit_are_found() -> None:
    fault = equivalence.fault(plain(), cut(pixels(0)), SHAPE)
    assert fault is not None
    assert "shapes cannot be multiplied" in fault


def test_a_normalisation_left_behind_is_found() -> None:
    kept = dict(cut(pixels(0, 2)).kept)
    del kept["1"]
    assert equivalence.fault(plain(), Surgery(kept), SHAPE) is not None


def test_normalisation_statistics_of_other_channels_are_found() -> None:
    kept = {**cut(pixels(0, 2)).kept, "1": Kept((1, 3))}
    module = plain()
    module[1].weight.data.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert equivalence.fault(module, Surgery(kept), SHAPE) is not None


def test_a_cut_of_the_logits_is_found() -> None:
    fault = equivalence.fault(plain(), Surgery({"4": Kept((0, 1), None)}), SHAPE)
    assert fault == "the output becomes [2, 2] instead of [2, 5]"


def test_signals_that_die_out_do_not_hide_a_wrong_cut() -> None:
    torch.manual_seed(0)
    module = plain()
    # In evaluation mode the bias drowns the features.
    module[0].weight.data.mul_(1e-12)
    module[4].bias.data.fill_(1e3)
    assert equivalence.fault(module, cut(pixels(0, 1)), SHAPE) is not None


def test_the_network_is_left_as_it_was() -> None:
    module = plain().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    equivalence.fault(module, cut(pixels(0, 2)), SHAPE)
    assert module[1].training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("groups", [1, 2])
def test_readers_in_groups_are_masked_in_their_group(groups: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, groups=groups), nn.Flatten())
    sound = Surgery({"0": Kept((1, 2)), "1": Kept(None, (1, 2))})
    wrong = Surgery({"0": Kept((1, 2)), "1": Kept(None, (0, 2))})
    assert equivalence.fault(module, sound, SHAPE) is None
    assert equivalence.fault(module, wrong, SHAPE) is not None


def test_only_confirmed_channels_of_an_output_are_reported() -> None:
    lost = {"0": {1, 3}, "1": {1, 3}, "2": {0, 1}}
    found = equivalence.traced_outputs(plain(), cut(pixels(0, 2)), SHAPE, lost)
    assert found == {"0": (0, 2), "1": (0, 2), "2": None, "3": None}


def test_a_channel_shuffle_that_tracing_cannot_follow_is_caught_by_the_values() -> None:
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, images_nchw: Tensor) -> Tensor:
            features = self.first(images_nchw)
            size = features.shape[1]
            pairs = features.reshape(len(features), 2, size // 2, 4, 4).transpose(1, 2)
            return self.last(pairs.reshape(len(features), size, 4, 4)).mean((2, 3))

    naive = Surgery({"first": Kept((0, 1, 2, 3)), "last": Kept(None, (0, 1, 2, 3))})
    right = Surgery({"first": Kept((0, 1, 4, 5)), "last": Kept(None, (0, 1, 2, 3))})
    assert equivalence.fault(Shuffled(), naive, SHAPE) is not None
    assert equivalence.fault(Shuffled(), right, SHAPE) is None


def test_layers_that_mix_channels_are_known() -> None:
    assert equivalence.mixes_channels(nn.LayerNorm(3))
    assert not any(map(equivalence.mixes_channels, build("cifar_resnet20", 10).modules()))
