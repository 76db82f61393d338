"""Every classifier of timm, such as timm:resnet10t; needs edgekd[timm]."""

from typing import Any

from torch import nn

from edgekd.core import extras
from edgekd.core.errors import UsageError, did_you_mean
from edgekd.core.records import Normalisation
from edgekd.models.family import Defaults, Family

NAMES = "timm:NAME"


class Timm(Family):
    """Networks of ``timm``."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Return the network with random weights."""
        timm, plain = _checked(name)
        module: nn.Module = timm.create_model(plain, pretrained=False, num_classes=classes)
        return module

    def defaults(self, name: str) -> Defaults:
        """Return what the published weights take."""
        timm, plain = _checked(name)
        config = timm.get_pretrained_cfg(plain)
        channels, height, width = config.input_size
        normalisation = Normalisation(mean=tuple(config.mean), std=tuple(config.std))
        return Defaults((channels, height, width), normalisation)


def _checked(name: str) -> tuple[Any, str]:
    extras.require("timm", "timm", "to build its networks")
    import timm  # heavy

    plain = name.removeprefix("timm:")
    if not timm.is_model(plain):
        raise UsageError(f"timm has no network '{plain}'.{did_you_mean(plain, timm.list_models())}")
    return timm, plain
