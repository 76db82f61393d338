"""Networks on disk: a folder with ``checkpoint.json`` and ``model.safetensors``.

Beside them lie ``surgery.json`` if channels were cut, and ``quantisation.json`` if layers compute
with few values.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.core import files, provenance, records
from edgekd.core.errors import CheckpointError, UsageError
from edgekd.core.records import Checkpoint, Normalisation
from edgekd.models import fake_quant, score
from edgekd.models import weights as foreign
from edgekd.models.build import Defaults, build, defaults
from edgekd.models.fake_quant import Quantisation
from edgekd.models.surgery import Surgery, replay

RECORD = "checkpoint.json"
WEIGHTS = "model.safetensors"
SURGERY = "surgery.json"
QUANTISATION = "quantisation.json"


@dataclass(frozen=True)
class Model:
    """A network with what is known about it."""

    module: nn.Module
    record: Checkpoint
    surgery: Surgery
    folder: Path | None = None  # None: not on disk

    @property
    def quantisation(self) -> Quantisation:
        """How its layers are quantised, if they are: the network itself knows."""
        return fake_quant.of(self.module)


def save(folder: Path, module: nn.Module, record: Checkpoint, surgery: Surgery) -> Model:
    """Write a checkpoint; each file whole or not at all, the record last.

    Args:
        folder: created if need be.
        module: may be on any device; tensors that share memory are written once each. How its
            layers are quantised is written too.
        record: its hashes are replaced by those of the written files.
        surgery: what was removed from the network that ``record.model`` names.
    """
    content = _serialise(module)
    quantisation = fake_quant.of(module)
    files.write_bytes(folder / WEIGHTS, content)
    hashes = {
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "surgery_sha256": _write(folder / SURGERY, surgery.to_json() if surgery.kept else None),
        "quantisation_sha256": _write(
            folder / QUANTISATION, quantisation.to_json() if quantisation.layers else None
        ),
    }
    written = record.model_copy(update=hashes)
    records.write(written, folder / RECORD)
    return Model(module, written, surgery, folder)


def load(folder: Path) -> Model:
    """Read a checkpoint; the network is on the CPU.

    Raises:
        CheckpointError: there is none, or its weights do not fit its architecture.
        RecordError: a record that cannot be read, or a file that was changed since.
    """
    if not (folder / RECORD).is_file():
        raise CheckpointError(f"'{folder}' is not a checkpoint: it has no {RECORD}")
    record = records.read(Checkpoint, folder / RECORD)
    # The record names no paths, so it cannot point outside its folder.
    records.check_file(folder / WEIGHTS, record.weights_sha256)
    surgery = Surgery.none()
    if record.surgery_sha256 is not None:
        records.check_file(folder / SURGERY, record.surgery_sha256)
        surgery = Surgery.from_json((folder / SURGERY).read_text(encoding="utf-8"))
    module = build(record.model, record.classes)
    replay(module, surgery)
    if record.quantisation_sha256 is not None:
        records.check_file(folder / QUANTISATION, record.quantisation_sha256)
        text = (folder / QUANTISATION).read_text(encoding="utf-8")
        fake_quant.attach(module, Quantisation.from_json(text))
    foreign.load_foreign(module, folder / WEIGHTS)
    return Model(module, record, surgery, folder)


def open_model(
    name: str,
    *,
    weights: Path | None = None,
    classes: int | None = None,
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_shape: tuple[int, int, int] | None = None,
) -> Model:
    """Open a checkpoint folder, or build a network and load foreign weights into it.

    Args:
        name: a folder with ``checkpoint.json``, or the name of a network.
        weights: foreign; None: the network keeps its random weights.
        classes: None: as many as there are class names, else as the weights have.
        class_names: None: "0", "1" ...
        mean: of each channel, pixels in [0, 1]; None: the family's.
        std: the same for the standard deviation, > 0.
        input_shape: C, H, W; None: the family's.

    Raises:
        UsageError: no such network, or options that contradict one another.
        CheckpointError: the weights do not fit.
    """
    if (Path(name) / RECORD).is_file():
        contradicting = {"weights": weights, "mean": mean, "std": std}
        return _reopen(Path(name), contradicting, classes, input_shape)
    if Path(name).is_dir():
        raise CheckpointError(f"'{name}' is a folder without {RECORD}: not a checkpoint")
    classes = classes or (len(class_names) if class_names else _count_classes(name, weights))
    module = build(name, classes)
    if weights is not None:
        foreign.load_foreign(module, weights)
    family = defaults(name)
    shape = input_shape or family.input_shape
    parameters, macs = count(module, shape)
    record = Checkpoint(
        provenance=provenance.stamp("torch"),
        parents=() if weights is None else (files.sha256_of(weights),),
        stage="initial" if weights is None else "teacher",
        model=name,
        classes=classes,
        class_names=_names(class_names, classes),
        input_shape=shape,
        normalisation=_normalisation(mean, std, family, shape[0]),
        weights_sha256=hashlib.sha256(_serialise(module)).hexdigest(),
        parameters=parameters,
        macs=macs,
    )
    return Model(module, record, Surgery.none())


def stored_size(name: str) -> int | None:
    """Return the height of a checkpoint's images in pixels; None: ``name`` is no checkpoint."""
    stored = _stored_shape(name)
    return None if stored is None else stored[1]


def shape_at(name: str, size: int) -> tuple[int, int, int]:
    """Return C, H, W of square images of ``size`` pixels for a checkpoint or a network.

    Raises:
        UsageError: there is no such network.
    """
    channels, *_ = _stored_shape(name) or defaults(name).input_shape
    return channels, size, size


def _stored_shape(name: str) -> tuple[int, int, int] | None:
    path = Path(name) / RECORD
    return records.read(Checkpoint, path).input_shape if path.is_file() else None


def count(module: nn.Module, input_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Count parameters and multiply-accumulates.

    MACs are those of convolutions and linear layers for one image, fixed shortcuts included: a
    device computes them. Constants of the architecture are not parameters.

    Args:
        module: any network on any device; its mode is left as it is.
        input_shape: C, H, W.

    Returns:
        Parameters, MACs.

    Raises:
        CheckpointError: the network cannot take such images.
    """
    macs = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, _ConvNd | nn.Linear)
        # Each weight is used once for each position: of the input where that is the smaller side.
        positions = output.shape[2:].numel()
        if isinstance(layer, _ConvTransposeNd):
            positions = inputs[0].shape[2:].numel()
        elif isinstance(layer, nn.Linear):
            positions = output.shape[1:-1].numel()
        macs += layer.weight.numel() * positions

    layers = [part for part in module.modules() if isinstance(part, _ConvNd | nn.Linear)]
    hooks = [layer.register_forward_hook(add) for layer in layers]
    first = next(module.parameters(), torch.empty(0))
    image_nchw = torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype)
    try:
        with score.evaluating(module), torch.no_grad():
            module(image_nchw)
    except RuntimeError as error:
        raise CheckpointError(
            f"{type(module).__name__} cannot take images of {list(input_shape)} (C, H, W): {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return sum(parameter.numel() for parameter in module.parameters()), macs


def _write(path: Path, text: str | None) -> str | None:
    """Write a file, if there is anything to write, and return its SHA-256."""
    if text is None:
        return None
    files.write_text(path, text)
    return hashlib.sha256(text.encode()).hexdigest()


def _serialise(module: nn.Module) -> bytes:
    """Return the state as safetensors; tied tensors are copied, for the format refuses them."""
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in module.state_dict().items()
    }
    return to_safetensors(state)


def _reopen(
    folder: Path,
    contradicting: Mapping[str, object],
    classes: int | None,
    input_shape: tuple[int, int, int] | None,
) -> Model:
    for option, value in contradicting.items():
        if value is not None:
            raise UsageError(
                f"'{folder}' is a checkpoint with {option} of its own; leave '{value}' out, or "
                "name the network instead of the folder"
            )
    model = load(folder)
    if input_shape is not None and input_shape != model.record.input_shape:
        raise UsageError(
            f"'{folder}' takes images of {list(model.record.input_shape)} (channels, height, "
            f"width), but they are {list(input_shape)}: see --image-size"
        )
    if classes is not None and classes != model.record.classes:
        raise UsageError(
            f"'{folder}' has {model.record.classes} classes, but {classes} are asked for"
        )
    return model


def _count_classes(name: str, weights_file: Path | None) -> int:
    """Read the number of classes from the weights of the last layer."""
    defaults(name)  # a name that nothing has is the greater mistake
    if weights_file is None:
        raise UsageError(f"how many classes has '{name}'? Give --classes")
    state = foreign.read_state(weights_file)
    key = f"{score.classifier(build(name, 2))}.weight"
    if key not in state:
        raise CheckpointError(
            f"'{weights_file}' belongs to another architecture than '{name}': it has no '{key}'"
        )
    return state[key].shape[0]


def _names(class_names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    names = tuple(class_names or (str(index) for index in range(classes)))
    if len(names) != classes:
        raise UsageError(f"{len(names)} class names for {classes} classes")
    return names


def _normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, family: Defaults, channels: int
) -> Normalisation:
    result = Normalisation(
        mean=tuple(mean or family.normalisation.mean), std=tuple(std or family.normalisation.std)
    )
    if len(result.mean) != channels or len(result.std) != channels or min(result.std) <= 0:
        raise UsageError(
            f"images of {channels} channels need as many means and positive deviations, found "
            f"--mean {list(result.mean)} --std {list(result.std)}"
        )
    return result
