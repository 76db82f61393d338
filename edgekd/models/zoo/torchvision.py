"""Every classifier of torchvision: torchvision:resnet18, torchvision:mobilenet_v3_small ..."""

import warnings
from typing import Any

from torch import nn

from edgekd.core import extras
from edgekd.core.errors import UsageError, did_you_mean
from edgekd.core.records import Normalisation
from edgekd.models.family import IMAGENET, Defaults, Family

NAMES = "torchvision:NAME"

# Their makers train them on pixels in [-1, 1]. torchvision rescales ImageNet's normalisation
# to that inside the network (transform_input); here the network's own normalisation says it.
_TENSORFLOW = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class Torchvision(Family):
    """Networks of ``torchvision.models`` that classify images."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Return the network without auxiliary heads: only training from scratch needs those."""
        extras.require("torchvision", "train", "to build its networks")
        from torchvision import models  # heavy

        plain = name.removeprefix("torchvision:")
        known = models.list_models(module=models)
        if plain not in known:
            raise UsageError(
                f"torchvision has no classifier '{plain}'.{did_you_mean(plain, known)}"
            )
        options: dict[str, Any] = {}
        if plain in {"googlenet", "inception_v3"}:
            options = {"aux_logits": False, "init_weights": False, "transform_input": False}
        with warnings.catch_warnings():
            # Says that a default will change, which is set above.
            warnings.filterwarnings("ignore", category=FutureWarning, module="torchvision")
            module: nn.Module = models.get_model(
                plain, weights=None, num_classes=classes, **options
            )
        return module

    def defaults(self, name: str) -> Defaults:
        """Return what the published weights take."""
        plain = name.removeprefix("torchvision:")
        size = 299 if plain == "inception_v3" else 224
        tensorflow = plain in {"googlenet", "inception_v3"}
        return Defaults((3, size, size), _TENSORFLOW if tensorflow else IMAGENET)
