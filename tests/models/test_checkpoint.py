import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgekd.core.errors import CheckpointError, EdgekdError, RecordError, UsageError
from edgekd.core.specs import Prune
from edgekd.models import checkpoint
from edgekd.models.build import build
from edgekd.models.checkpoint import Model, count, open_model
from edgekd.prune.channels import prune


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return open_model("digits_resnet", classes=10)


@pytest.fixture
def pruned(model: Model, tmp_path: Path) -> Model:
    surgery = prune(model.module, (1, 8, 8), Prune(macs=0.5))
    return checkpoint.save(tmp_path / "pruned", model.module, model.record, surgery)


def test_a_pruned_network_comes_back_with_the_same_logits_to_the_last_bit(pruned: Model) -> None:
    again = checkpoint.load(pruned.folder)
    images_nchw = torch.randn(4, 1, 8, 8)
    assert again.surgery == pruned.surgery
    assert torch.equal(again.module.eval()(images_nchw), pruned.module.eval()(images_nchw))


def test_what_is_written_is_only_tensors_and_json(pruned: Model) -> None:
    assert sorted(path.name for path in pruned.folder.iterdir()) == [
        "checkpoint.json",
        "model.safetensors",
        "surgery.json",
    ]


def test_the_same_weights_make_the_same_file(model: Model, tmp_path: Path) -> None:
    first = checkpoint.save(tmp_path / "a", model.module, model.record, model.surgery)
    second = checkpoint.save(tmp_path / "b", model.module, model.record, model.surgery)
    assert first.record.weights_sha256 == second.record.weights_sha256
    assert first.record.weights_sha256 == model.record.weights_sha256


@pytest.mark.parametrize("name", ["model.safetensors", "surgery.json"])
def test_a_file_that_was_changed_is_refused(pruned: Model, name: str) -> None:
    path = pruned.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RecordError, match=f"{name}' was changed"):
        checkpoint.load(pruned.folder)


@pytest.mark.parametrize("name", ["model.safetensors", "surgery.json"])
def test_a_file_that_is_missing_is_named(pruned: Model, name: str) -> None:
    (pruned.folder / name).unlink()
    with pytest.raises(RecordError, match=f"{name}' is missing"):
        checkpoint.load(pruned.folder)


def test_a_record_that_names_another_network_is_refused(pruned: Model) -> None:
    path = pruned.folder / "checkpoint.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"model": "cifar_resnet20"}))
    with pytest.raises(EdgekdError, match=r"does not fit|lacks"):
        checkpoint.load(pruned.folder)


def test_a_folder_without_a_record_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no checkpoint\.json"):
        checkpoint.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"folder without checkpoint\.json"):
        open_model(str(tmp_path))


def test_tied_weights_are_written_and_tied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    code = (
        "from torch import nn\n"
        "def build():\n"
        "    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))\n"
        "    net[1].weight = net[0].weight\n"
        "    return net\n"
    )
    (tmp_path / "tied_nets_of_a_user.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    name = "tied_nets_of_a_user:build"
    module = build(name, 3)
    record = model.record.model_copy(update={"model": name, "classes": 3})
    checkpoint.save(tmp_path / "tied", module, record, model.surgery)
    again = checkpoint.load(tmp_path / "tied").module
    assert again[0].weight is again[1].weight
    assert torch.equal(again[0].weight, module[0].weight)


def test_a_crash_while_saving_leaves_the_old_checkpoint(
    pruned: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_state: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "to_safetensors", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(pruned.folder, nn.Linear(1, 1), pruned.record, pruned.surgery)
    assert checkpoint.load(pruned.folder).record == pruned.record


def test_foreign_weights_say_how_many_classes_there_are(tmp_path: Path) -> None:
    save_file(build("digits_resnet", 7).state_dict(), tmp_path / "w.safetensors")
    model = open_model("digits_resnet", weights=tmp_path / "w.safetensors")
    assert model.record.classes == 7
    assert model.record.class_names == ("0", "1", "2", "3", "4", "5", "6")
    assert (model.record.stage, len(model.record.parents)) == ("teacher", 1)
    assert model.record.input_shape == (1, 8, 8)


def test_random_weights_are_called_initial_and_need_a_number_of_classes() -> None:
    assert open_model("digits_resnet", classes=3).record.stage == "initial"
    with pytest.raises(UsageError, match="Give --classes"):
        open_model("digits_resnet")


def test_class_names_say_how_many_classes_there_are() -> None:
    model = open_model("digits_resnet", class_names=["cat", "dog"])
    assert (model.record.classes, model.record.class_names) == (2, ("cat", "dog"))
    with pytest.raises(UsageError, match="2 class names for 3 classes"):
        open_model("digits_resnet", class_names=["cat", "dog"], classes=3)


def test_a_checkpoint_folder_has_weights_and_classes_of_its_own(pruned: Model) -> None:
    folder = str(pruned.folder)
    assert open_model(folder).record == pruned.record
    with pytest.raises(UsageError, match="weights of its own"):
        open_model(folder, weights=Path("w.pt"))
    with pytest.raises(UsageError, match="10 classes, but 3 are asked for"):
        open_model(folder, classes=3)


def test_normalisation_is_the_family_s_unless_given() -> None:
    assert open_model("digits_resnet", classes=3).record.normalisation.mean == (0.305,)
    given = open_model("digits_resnet", classes=3, mean=[0.5], std=[0.25]).record.normalisation
    assert (given.mean, given.std) == ((0.5,), (0.25,))
    with pytest.raises(UsageError, match="images of 1 channels"):
        open_model("digits_resnet", classes=3, mean=[0.5, 0.5])
    with pytest.raises(UsageError, match="positive deviations"):
        open_model("digits_resnet", classes=3, std=[0.0])


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 4, 4), 4 * 4 * 8 * 3 * 9),
        (nn.Conv2d(4, 8, 3, stride=2, groups=4), (4, 5, 5), 2 * 2 * 8 * 9),
        (nn.ConvTranspose2d(3, 8, 2, stride=2), (3, 4, 4), 4 * 4 * 3 * 8 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2), 60),
    ],
)
def test_macs_are_those_counted_by_hand(
    layer: nn.Module, shape: tuple[int, int, int], macs: int
) -> None:
    assert count(layer, shape)[1] == macs


def test_counting_leaves_no_trace() -> None:
    module = build("digits_resnet", 10).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    count(module, (1, 8, 8))
    after = module.state_dict()
    assert module.bn1.training
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(part._forward_hooks for part in module.modules())


def test_resnet20_has_as_many_macs_as_published() -> None:
    parameters, macs = count(build("cifar_resnet20", 10), (3, 32, 32))
    # 269,722 and 40.55 million in the literature; the two fixed shortcuts add 262,144.
    assert (parameters, macs) == (269_722, 40_551_040 + 262_144)
