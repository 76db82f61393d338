"""Layers that compute with few values: simulated quantisation, for training and for studies.

A layer keeps its place, its name and its parameters, so optimisers, taps and weights files know it
as before; what it gets is a step for its inputs, ``activation_step``. Its weight stays in float and
is quantised anew at every forward pass, the same in training and in evaluation.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from edgekd.core.errors import CheckpointError
from edgekd.models import quantisers
from edgekd.models.quantisers import FLOAT, Rule

_BITS = (1, 2, 4, 8, FLOAT)
_WEIGHT_BITS = (*_BITS, 7)  # as some engines take for 8
_RULES = ("edgekd", "faqd")
_ENGINE_BITS = 8  # of activations, that engines compute in


@dataclass(frozen=True)
class Precision:
    """How one layer computes.

    Args:
        weights: bits: 1, 2, 4, 7, 8, or 32: in float.
        activations: bits of its inputs: 1, 2, 4, 8 or 32.
        signed: its inputs can be negative.
        rule: which quantisers; see ``edgekd.models.quantisers``.
        shares: the layer that reads the same tensor and holds the step of both: engines round a
            tensor once for all its readers. None: the step is its own.
    """

    weights: int
    activations: int
    signed: bool = False
    rule: Rule = "edgekd"
    shares: str | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one of them is outside its range.
        """
        if self.weights not in _WEIGHT_BITS or self.activations not in _BITS:
            found = f"{self.weights} and {self.activations}"
            raise ValueError(f"bits must be 1, 2, 4, 8 or 32 (weights: 7, too), but are {found}")
        if self.rule not in _RULES or not isinstance(self.signed, bool):
            raise ValueError(f"'{self.rule}', {self.signed!r}: no such rule, or no such sign")


@dataclass(frozen=True)
class Quantisation:
    """Which layers of a network are quantised, and how: dotted name -> precision."""

    layers: Mapping[str, Precision] = field(default_factory=dict)

    @property
    def least_bits(self) -> int:
        """The fewest bits of any weight or activation; 32: nothing is quantised."""
        bits = [bits for part in self.layers.values() for bits in (part.weights, part.activations)]
        return min(bits, default=FLOAT)

    def to_json(self) -> str:
        """Return it as JSON, names in order."""
        layers = {name: asdict(part) for name, part in sorted(self.layers.items())}
        return json.dumps({"schema_version": 1, "layers": layers}, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Quantisation":
        """Read it.

        Raises:
            CheckpointError: it is not a quantisation of schema 1.
        """
        try:
            tree = json.loads(text)
            if tree["schema_version"] != 1:
                raise CheckpointError(
                    f"quantisation of schema {tree['schema_version']}; expected 1"
                )
            layers = {name: Precision(**part) for name, part in tree["layers"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"this is not a quantisation of schema 1: {error!r}") from error
        return cls(layers)


class QuantisedConv2d(nn.Conv2d):
    """A convolution with quantised inputs and weight."""

    precision: Precision
    activation_step: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Return [N, O, H', W']."""
        weight = quantisers.weight(self.weight, self.precision.weights, self.precision.rule)
        result: Tensor = self._conv_forward(_inputs(self, input), weight, self.bias)
        return result


class QuantisedLinear(nn.Linear):
    """A linear layer with quantised inputs and weight."""

    precision: Precision
    activation_step: nn.Parameter

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name
        """Return [..., O]."""
        weight = quantisers.weight(self.weight, self.precision.weights, self.precision.rule)
        result: Tensor = nn.functional.linear(_inputs(self, input), weight, self.bias)
        return result


def supports(layer: nn.Module) -> bool:
    """Say whether ``attach`` can quantise a layer: subclasses may do more than their parents."""
    return type(layer) in _QUANTISED and isinstance(layer.weight, nn.Parameter)


def attach(
    module: nn.Module, quantisation: Quantisation, steps: Mapping[str, float] | None = None
) -> None:
    """Quantise layers of ``module``, in place.

    Args:
        module: as it was when the quantisation was planned, cut channels and all; values, devices
            and ``requires_grad`` of its parameters stay.
        quantisation: which layers, and how.
        steps: of the inputs, by layer, > 0; None: 1, to be loaded.

    Raises:
        CheckpointError: the network lacks a layer, or it cannot be quantised, or it shares the step
            of one that has none.
    """
    for name, precision in quantisation.layers.items():
        try:
            layer = module.get_submodule(name)
        except AttributeError as error:
            raise CheckpointError(
                f"the quantisation names '{name}', which the network lacks"
            ) from error
        if not supports(layer):
            raise CheckpointError(
                f"the quantisation names '{name}', but a {type(layer).__name__} cannot be quantised"
            )
        step = 1.0 if steps is None else steps.get(name, 1.0)
        _become(layer, _QUANTISED[type(layer)])
        assert isinstance(layer, QuantisedConv2d | QuantisedLinear)
        layer.precision = precision
        if precision.activations != FLOAT:
            start = torch.tensor(step, device=layer.weight.device, dtype=layer.weight.dtype)
            layer.activation_step = nn.Parameter(start)
    _tie(module, quantisation)


@dataclass(frozen=True)
class Grid:
    """What a layer's inputs are rounded to: ``step`` times 0 .. 255, or with signs -128 .. 127."""

    step: float
    signed: bool


def grids(module: nn.Module) -> dict[str, Grid]:
    """Return the grid of every layer with inputs of 8 bits, by name.

    Layers of rule "faqd" without signs are left out: they round up, which no engine does.
    """
    found = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, QuantisedConv2d | QuantisedLinear):
            continue
        precision = layer.precision
        if precision.activations == _ENGINE_BITS and (precision.signed or precision.rule != "faqd"):
            step = max(float(layer.activation_step.detach()), quantisers.LEAST_STEP)
            found[name] = Grid(step, precision.signed)
    return found


def strip(module: nn.Module) -> None:
    """Undo ``attach``, in place: weights as they are in float, and no steps."""
    for layer in module.modules():
        if isinstance(layer, QuantisedConv2d | QuantisedLinear):
            if layer.precision.activations != FLOAT:
                del layer.activation_step
            del layer.precision
            _become(layer, _FLOAT[type(layer)])


def of(module: nn.Module) -> Quantisation:
    """Return how the layers of a network are quantised; no layers: it computes in float."""
    return Quantisation(
        {
            name: layer.precision
            for name, layer in module.named_modules()
            if isinstance(layer, QuantisedConv2d | QuantisedLinear)
        }
    )


_QUANTISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: QuantisedConv2d,
    nn.Linear: QuantisedLinear,
}
_FLOAT = {there: here for here, there in _QUANTISED.items()}


def _tie(module: nn.Module, quantisation: Quantisation) -> None:
    for name, precision in quantisation.layers.items():
        if precision.shares is None:
            continue
        owner = quantisation.layers.get(precision.shares)
        if owner is None or owner.shares is not None or not _alike(owner, precision):
            raise CheckpointError(
                f"'{name}' is said to share the step of '{precision.shares}', which has none of "
                "that kind"
            )
        step = module.get_submodule(precision.shares).activation_step
        module.get_submodule(name).activation_step = step


def _alike(one: Precision, other: Precision) -> bool:
    """Say whether two layers round their inputs in one way."""
    return (one.activations, one.signed, one.rule) == (other.activations, other.signed, other.rule)


def _become(layer: nn.Module, kind: type[nn.Module]) -> None:
    """Change the class of an object: whoever holds the layer or its parameters keeps them."""
    layer.__class__ = kind


def _inputs(layer: QuantisedConv2d | QuantisedLinear, values_n: Tensor) -> Tensor:
    precision = layer.precision
    if precision.activations == FLOAT:
        return values_n
    # In half precision a step times a whole number would not be a multiple of it.
    return quantisers.activation(
        values_n.to(layer.activation_step.dtype),
        layer.activation_step,
        precision.activations,
        signed=precision.signed,
        rule=precision.rule,
    )
