"""Build a network from its name."""

import importlib.util

from torch import nn

from edgekd.core import plugins
from edgekd.core.errors import UsageError, did_you_mean
from edgekd.models.family import Defaults, Family

__all__ = ["Defaults", "build", "defaults", "names"]

_ZOO = "edgekd.models.zoo"


def names() -> list[str]:
    """Return the built-in names and the forms of the others; imports no family."""
    return sorted(_families())


def build(model: str, classes: int) -> nn.Module:
    """Return a new network with random weights; nothing is downloaded.

    Args:
        model: "cifar_resnet56", "torchvision:resnet18", "timm:NAME" or "package.module:factory".
        classes: number of logits.

    Raises:
        UsageError: there is no such network, or ``classes`` is below 1.
        EnvironmentMissingError: the package that has it is not installed.
    """
    if classes < 1:
        raise UsageError(f"'{model}' needs at least one class, found {classes}")
    return _family(model).build(model, classes)


def defaults(model: str) -> Defaults:
    """Return the input shape and the normalisation that ``model`` takes by default.

    Raises:
        UsageError: there is no such network.
    """
    return _family(model).defaults(model)


def _family(model: str) -> Family:
    prefix, colon, _ = model.partition(":")
    form = model
    if colon:
        form = f"{prefix}:NAME" if prefix in {"torchvision", "timm"} else "package.module:factory"
    families = _families()
    if form not in families:
        raise UsageError(
            f"no model is called '{model}', and no checkpoint folder.{_meant(model, families)}"
        )
    # mypy: an abstract class is what load() looks for, not what it returns.
    family: Family = plugins.create(_ZOO, families[form], Family, {})  # type: ignore[type-abstract]
    return family


def _meant(model: str, families: dict[str, str]) -> str:
    """Offer torchvision's network of that name, else what is near: the prefix is easily missed."""
    if model.endswith((".pt", ".pth", ".safetensors")):
        return " Weights are no network: name the network, and give the file as its weights."
    if importlib.util.find_spec("torchvision") is not None:
        from torchvision import models  # seconds: only for this message

        if model in models.list_models(module=models):
            return f" Did you mean 'torchvision:{model}'?"
    return did_you_mean(model, families)


def _families() -> dict[str, str]:
    """Return name or form -> the family's file."""
    return {
        name: summary.name
        for summary in plugins.summaries(_ZOO)
        for name in str(summary.constants["NAMES"]).split()
    }
