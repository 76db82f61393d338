import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.core.errors import CheckpointError, RecordError
from edgekd.core.specs import Prune, Quantize
from edgekd.models import checkpoint, fake_quant
from edgekd.models.build import build
from edgekd.models.checkpoint import Model, open_model
from edgekd.models.fake_quant import Precision, Quantisation
from edgekd.prune.channels import prune
from edgekd.quantize import qat

PLAN = Quantisation(
    {
        "conv1": Precision(8, 8, signed=True),
        "layer1.0.conv1": Precision(2, 4),
        "layer1.0.conv2": Precision(1, 32),
        "layer2.0.conv1": Precision(32, 1, rule="faqd"),
        "linear": Precision(8, 8),
    }
)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return open_model("digits_resnet", classes=10)


@pytest.fixture
def both(model: Model, tmp_path: Path) -> Model:
    """Pruned and quantised, and written."""
    surgery = prune(model.module, (1, 8, 8), Prune(macs=0.5))
    qat.quantise(model.module, Quantize(weights=4, activations=2), [images()])
    return checkpoint.save(tmp_path / "both", model.module, model.record, surgery)


def test_parameters_keep_their_names_and_objects(model: Model) -> None:
    before = dict(model.module.named_parameters())
    fake_quant.attach(model.module, PLAN)
    after = dict(model.module.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert set(after) - set(before) == {
        f"{name}.activation_step" for name in PLAN.layers if name != "layer1.0.conv2"
    }


def test_the_network_knows_how_it_is_quantised_and_so_does_its_copy(model: Model) -> None:
    fake_quant.attach(model.module, PLAN)
    assert fake_quant.of(model.module) == PLAN
    assert fake_quant.of(copy.deepcopy(model.module)) == PLAN
    assert model.quantisation.least_bits == 1


def test_a_float_network_says_so(model: Model) -> None:
    assert model.quantisation == Quantisation()
    assert model.quantisation.least_bits == 32


def test_layers_use_the_quantised_weight_and_inputs() -> None:
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, -3.0]])
    net = nn.Sequential(layer)
    fake_quant.attach(net, Quantisation({"0": Precision(1, 2)}), {"0": 0.5})
    # Weights (2, -2); inputs (0.9, 9) become (1, 1.5).
    assert net(torch.tensor([[0.9, 9.0]])).item() == pytest.approx(2 * 1 - 2 * 1.5)


def test_grouped_and_strided_convolutions_keep_their_arithmetic() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=4, padding_mode="reflect"))
    weight = fake_quant.quantisers.weight(net[0].weight, 4).detach()
    expected = copy.deepcopy(net)
    expected[0].weight.data = weight
    fake_quant.attach(net, Quantisation({"0": Precision(4, 32)}))
    images_nchw = torch.randn(2, 4, 6, 6)
    assert torch.equal(net(images_nchw), expected(images_nchw))


def test_training_and_evaluation_compute_the_same(model: Model) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    layers = {"0": Precision(4, 4, signed=True), "2": Precision(2, 2)}
    fake_quant.attach(net, Quantisation(layers), {"0": 0.2, "2": 0.1})
    assert torch.equal(net.train()(images()), net.eval()(images()))


def test_a_step_of_an_optimiser_changes_the_float_weight_and_the_step() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    qat.quantise(net, Quantize(weights=2, activations=2, edges=None), [images()])
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    nn.functional.cross_entropy(net(images()), torch.arange(4)).backward()
    optimiser.step()
    assert all(not torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert len(net[3].weight.unique()) > 1000  # it is not the weight that was quantised


def test_stripping_gives_back_the_float_network(model: Model) -> None:
    expected = model.module.eval()(images())
    fake_quant.attach(model.module, PLAN)
    assert not torch.equal(model.module(images()), expected)
    fake_quant.strip(model.module)
    assert torch.equal(model.module(images()), expected)
    assert {type(part) for part in model.module.modules()} == {
        type(part) for part in build("digits_resnet", 10).modules()
    }
    assert list(model.module.state_dict()) == list(build("digits_resnet", 10).state_dict())


def test_half_precision_multiplies_exact_multiples_of_the_step() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    fake_quant.attach(net, Quantisation({"0": Precision(32, 8)}), {"0": 0.3})
    taken = []
    real = nn.functional.linear

    def note(inputs: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        taken.append(inputs)
        return real(inputs, *others)

    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", dtype=torch.bfloat16):
        patch.setattr(nn.functional, "linear", note)
        net(torch.tensor([[1.0, 2.0, 40.0]], dtype=torch.bfloat16))
    levels = (taken[0] / 0.3).round()
    assert torch.equal(taken[0], 0.3 * levels)
    assert taken[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "message"), [("conv9", "which the network lacks"), ("bn1", "a BatchNorm2d cannot be")]
)
def test_a_plan_for_another_network_is_refused(model: Model, name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        fake_quant.attach(model.module, Quantisation({name: Precision(8, 8)}))


def test_subclasses_which_may_do_more_are_left_alone() -> None:
    class Other(nn.Linear):
        pass

    assert not fake_quant.supports(Other(1, 1))
    assert fake_quant.supports(nn.Linear(1, 1))


def test_plans_come_back_from_json() -> None:
    assert Quantisation.from_json(PLAN.to_json()) == PLAN
    assert PLAN.to_json() == Quantisation(dict(reversed(PLAN.layers.items()))).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        '{"schema_version":2,"layers":{}}',
        '{"schema_version":1,"layers":{"a":{"weights":3,"activations":8}}}',
        '{"schema_version":1,"layers":{"a":{"weights":8,"activations":8,"rule":"x"}}}',
        '{"schema_version":1,"layers":{"a":{"weights":8,"activations":8,"signed":1}}}',
        '{"schema_version":1,"layers":{"a":{"bits":8}}}',
    ],
)
def test_json_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="quantisation of schema"):
        Quantisation.from_json(text)


def test_a_pruned_and_quantised_network_comes_back_with_the_same_logits_to_the_last_bit(
    both: Model,
) -> None:
    again = checkpoint.load(both.folder)
    assert again.quantisation == both.quantisation
    assert again.quantisation.least_bits == 2
    assert torch.equal(again.module.eval()(images()), both.module.eval()(images()))


def test_what_is_written_is_only_tensors_and_json(both: Model) -> None:
    assert sorted(path.name for path in both.folder.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "quantisation.json",
        "surgery.json",
    ]


def test_a_plan_that_was_changed_is_refused(both: Model) -> None:
    path = both.folder / "quantisation.json"
    path.write_text(path.read_text().replace('"weights":4', '"weights":8'))
    with pytest.raises(RecordError, match=r"quantisation\.json' was changed"):
        checkpoint.load(both.folder)


def test_the_record_of_a_float_network_names_no_plan(model: Model, tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path / "float", model.module, model.record, model.surgery)
    assert saved.record.quantisation_sha256 is None
    assert not (saved.folder / "quantisation.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121"])
def test_real_architectures_compute_with_few_values(name: str) -> None:
    torch.manual_seed(0)
    module = build(f"torchvision:{name}", 5).eval()
    images_nchw = torch.randn(2, 3, 64, 64)
    plan = qat.quantise(module, Quantize(weights=2, activations=4), [images_nchw])
    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert len(plan.layers) == len(layers)
    logits_nk = module(images_nchw)
    assert logits_nk.shape == (2, 5)
    assert logits_nk.isfinite().all()
    logits_nk.sum().backward()
    assert all(part.activation_step.grad is not None for part in layers)


def test_a_shared_step_is_written_and_read_as_one(model: Model, tmp_path: Path) -> None:
    qat.quantise(model.module, Quantize(), [images()])
    checkpoint.save(tmp_path / "w8a8", model.module, model.record, model.surgery)
    block = checkpoint.load(tmp_path / "w8a8").module.layer2[0]
    assert block.shortcut[0].activation_step is block.conv1.activation_step
    assert block.conv1.activation_step != 1.0


@pytest.mark.parametrize(
    "owner", ["conv1", "layer1.0.conv2", "layer9"]
)  # signed; without a step; not there
def test_a_step_is_shared_with_a_layer_that_has_such_a_one(model: Model, owner: str) -> None:
    layers = {
        "conv1": Precision(8, 8, signed=True),
        "layer1.0.conv2": Precision(8, 32),
        "linear": Precision(8, 8, shares=owner),
    }
    with pytest.raises(CheckpointError, match=f"share the step of '{owner}'"):
        fake_quant.attach(model.module, Quantisation(layers))


def test_grids_are_those_of_8_bits_that_an_engine_can_compute(model: Model) -> None:
    layers = {
        "conv1": Precision(8, 8, signed=True, rule="faqd"),
        "layer1.0.conv1": Precision(8, 8, rule="faqd"),  # rounds up
        "layer1.0.conv2": Precision(8, 4),
        "linear": Precision(8, 8),
    }
    fake_quant.attach(model.module, Quantisation(layers), {"conv1": 0.5, "linear": -1.0})
    found = fake_quant.grids(model.module)
    assert found["conv1"] == fake_quant.Grid(0.5, signed=True)
    assert found["linear"] == fake_quant.Grid(1e-8, signed=False)  # as it computes
    assert sorted(found) == ["conv1", "linear"]
