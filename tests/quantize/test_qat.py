import logging

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.core.errors import CheckpointError, UsageError
from edgekd.core.records import Normalisation
from edgekd.core.specs import Quantize
from edgekd.models import fake_quant
from edgekd.models.build import build
from edgekd.models.fake_quant import Precision
from edgekd.quantize import calibrator as calibrators
from edgekd.quantize import qat
from edgekd.quantize.calibrator import Histogram

LOW = Quantize(weights=2, activations=2)


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def digits() -> nn.Module:
    torch.manual_seed(0)
    return build("digits_resnet", 10)


def histogram(values: Tensor) -> Histogram:
    found = Histogram()
    found.add(values.numpy())
    return found


@pytest.mark.parametrize(
    ("text", "bits"), [("W8A8", (8, 8)), ("W1A32", (1, 32)), ("W32A4", (32, 4)), ("W2A2", (2, 2))]
)
def test_bits_are_read(text: str, bits: tuple[int, int]) -> None:
    assert qat.parse_bits(text) == bits


@pytest.mark.parametrize("text", ["W3A4", "w4a4", "W4", "4", "W4A4 ", "W16A16", ""])
def test_other_bits_are_refused_with_what_is_taken(text: str) -> None:
    with pytest.raises(UsageError, match=r"like W4A8.*1, 2, 4, 8 or 32"):
        qat.parse_bits(text)


def test_edges_keep_more_bits_and_images_have_signs() -> None:
    module = digits()
    plan = qat.quantise(module, LOW, [images()])
    assert plan.layers["conv1"] == Precision(8, 8, signed=True)
    assert plan.layers["linear"] == Precision(8, 8)
    inner = {name: part for name, part in plan.layers.items() if name not in {"conv1", "linear"}}
    assert set(inner.values()) == {Precision(2, 2)}
    assert fake_quant.of(module) == plan


def test_without_edges_only_the_images_keep_more_bits() -> None:
    spec = Quantize(weights=2, activations=2, edges=None)
    plan = qat.quantise(digits(), spec, [images()])
    assert plan.layers["conv1"] == Precision(2, 8, signed=True)
    assert plan.layers["linear"] == Precision(2, 2)


def test_weights_alone_need_no_images_and_have_no_steps() -> None:
    module = digits()
    plan = qat.quantise(module, Quantize(weights=1, activations=32), [torch.zeros(1, 1, 8, 8)])
    assert {part.activations for part in plan.layers.values()} == {32}
    assert not [name for name in module.state_dict() if name.endswith("step")]


def test_the_first_convolution_is_the_one_that_runs_first() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.second = nn.Conv2d(2, 2, 8)
            self.first = nn.Conv2d(1, 2, 1)

        def forward(self, images_nchw: Tensor) -> Tensor:
            return self.linear(self.second(self.first(images_nchw).relu()).flatten(1))

    plan = qat.quantise(Backwards(), LOW, [images()])
    assert plan.layers["first"] == Precision(8, 8, signed=True)
    assert plan.layers["second"] == Precision(2, 2)
    assert plan.layers["linear"] == Precision(8, 8, signed=True)


def test_images_have_signs_even_if_those_of_the_calibration_have_none() -> None:
    plan = qat.quantise(digits(), LOW, [images().abs()])
    assert [name for name, part in plan.layers.items() if part.signed] == ["conv1"]


def test_what_keep_names_stays_in_float() -> None:
    module = digits()
    spec = Quantize(weights=2, activations=2, keep=("layer1.*", "linear"))
    plan = qat.quantise(module, spec, [images()])
    assert sorted(plan.layers) == [
        "conv1", "layer2.0.conv1", "layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv1",
        "layer2.1.conv2",
    ]  # fmt: skip
    assert type(module.layer1[0].conv1) is nn.Conv2d


def test_a_glob_that_matches_nothing_is_refused() -> None:
    spec = Quantize(weights=2, activations=2, keep=("layer9.*",))
    with pytest.raises(UsageError, match=r"'layer9\.\*' matches no .* layer"):
        qat.quantise(digits(), spec, [images()])


def test_a_quantised_network_is_not_quantised_again() -> None:
    module = digits()
    qat.quantise(module, LOW, [images()])
    with pytest.raises(UsageError, match="quantised already"):
        qat.quantise(module, LOW, [images()])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Quantize(weights=32, activations=32), "fewer bits"),
        (Quantize(keep=("*",)), "no layer left"),
    ],
)
def test_quantising_nothing_is_refused(spec: Quantize, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        qat.quantise(digits(), spec, [images()])


def test_layers_that_cannot_be_quantised_are_named(caplog: pytest.LogCaptureFixture) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 3), nn.Flatten(), nn.Linear(128, 3)
    )
    with caplog.at_level(logging.WARNING):
        plan = qat.quantise(net, LOW, [images()])
    assert sorted(plan.layers) == ["0", "3"]
    assert caplog.messages == ["in float, for they cannot be quantised: 1"]


def test_an_input_that_is_not_finite_is_refused_and_the_network_left_as_it_was() -> None:
    module = digits()
    with pytest.raises(CheckpointError, match="into 'conv1' is not finite"):
        qat.quantise(module, LOW, [torch.full((1, 1, 8, 8), torch.inf)])
    assert not fake_quant.of(module).layers
    assert not any(part._forward_pre_hooks for part in module.modules())


def test_calibration_changes_neither_modes_nor_statistics() -> None:
    module = digits().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    qat.quantise(module, LOW, [images()])
    assert module.bn1.training
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)


def test_steps_do_not_depend_on_how_images_are_cut_into_batches() -> None:
    one, two = digits(), digits()
    qat.quantise(one, LOW, [images()])
    qat.quantise(two, LOW, [images()[:3], images()[3:]])
    steps = [
        torch.stack([tensor for name, tensor in net.state_dict().items() if name.endswith("step")])
        for net in (one, two)
    ]
    assert torch.allclose(*steps, rtol=0.03)


def test_eight_bits_hardly_change_the_logits() -> None:
    module = digits().eval()
    expected = module(images())
    qat.quantise(module, Quantize(), [images()])
    error = (module(images()) - expected).abs().max() / expected.std()
    assert 0 < error < 0.1


def test_the_best_step_of_half_normal_values_is_the_known_one() -> None:
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).abs()
    steps = [qat.best_step(histogram(values), bits, signed=False) for bits in (1, 2, 4)]
    assert steps == pytest.approx([1.22, 0.65, 0.194], rel=0.04)


def test_the_best_step_of_one_bit_with_signs_is_the_mean_size() -> None:
    values = torch.tensor([-1.0, 2.0, -3.0])
    assert qat.best_step(histogram(values), 1, signed=True) == pytest.approx(2.0, abs=0.03)


def test_values_that_fit_a_grid_find_it() -> None:
    values = 0.25 * torch.arange(16.0)
    assert qat.best_step(histogram(values), 4, signed=False) == pytest.approx(0.25, rel=0.01)


def test_zeros_alone_have_a_step_of_one() -> None:
    assert qat.best_step(histogram(torch.zeros(3)), 4, signed=False) == 1.0


def test_calibration_images_are_drawn_without_replacement_and_always_the_same() -> None:
    class Grey:
        labels_n = np.zeros(100, dtype=np.int64)

        def __len__(self) -> int:
            return 100

        def batch(self, indices: np.ndarray) -> np.ndarray:
            return np.broadcast_to(indices[:, None, None, None], (len(indices), 1, 1, 1)).astype(
                np.uint8
            )

    flat = Normalisation(mean=(0.0,), std=(1 / 255,))
    drawn = [torch.cat(list(qat.batches(Grey(), flat, 70, 0, "cpu"))) for _ in range(2)]
    assert torch.equal(*drawn)
    assert len(drawn[0].round().unique()) == 70
    assert len(torch.cat(list(qat.batches(Grey(), flat, 999, 0, "cpu")))) == 100


def test_layers_that_read_one_tensor_in_8_bits_share_one_step() -> None:
    module = digits()
    plan = qat.quantise(module, Quantize(), [images()])
    sharing = {name: part.shares for name, part in plan.layers.items() if part.shares}
    assert sharing == {"layer2.0.shortcut.0": "layer2.0.conv1"}
    block = module.layer2[0]
    assert block.shortcut[0].activation_step is block.conv1.activation_step


def test_a_tensor_that_was_changed_in_place_is_another() -> None:
    class Inplace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(64, 3), nn.Linear(64, 3)

        def forward(self, images_nchw: Tensor) -> Tensor:
            values = images_nchw.flatten(1) - 0.5
            before = self.one(values)
            return before + self.two(values.relu_())

    plan = qat.quantise(Inplace(), Quantize(), [images()])
    assert {part.shares for part in plan.layers.values()} == {None}


def test_for_an_engine_with_symmetric_numbers_all_8_bit_inputs_have_signs() -> None:
    engine = qat.Int8(weight_bits=7, symmetric=True)
    plan = qat.quantise(digits(), Quantize(weights=8, activations=8), [images()], int8=engine)
    assert {(part.weights, part.signed) for part in plan.layers.values()} == {(7, True)}


def test_fewer_bits_stay_as_they_were_whatever_the_engine() -> None:
    spec = Quantize(weights=4, activations=4, edges=None)
    plan = qat.quantise(digits(), spec, [images()], int8=qat.Int8(7, symmetric=True))
    assert plan.layers["layer1.0.conv1"] == Precision(4, 4)


@pytest.mark.parametrize("calibrator", ["minmax", "entropy", "percentile", "mse"])
def test_first_steps_come_from_the_calibrator_that_is_named(calibrator: str) -> None:
    module = digits()
    qat.quantise(module, Quantize(calibrator=calibrator), [images()])
    watcher = calibrators.create(calibrator)
    watcher.observe(images().numpy())
    low, high = watcher.range()
    step = fake_quant.grids(module)["conv1"].step
    assert step == pytest.approx(max(-low, high) / 127)


def test_a_calibrator_that_saw_nothing_but_zeros_gives_a_step_of_one() -> None:
    module = digits()
    qat.quantise(module, Quantize(calibrator="minmax"), [torch.zeros(2, 1, 8, 8)])
    assert fake_quant.grids(module)["conv1"].step == 1.0
