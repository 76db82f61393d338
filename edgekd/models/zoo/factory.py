"""Your own network: package.module:factory, where factory(classes) returns an nn.Module."""

import inspect

from torch import nn

from edgekd.core import user_code
from edgekd.core.errors import UsageError
from edgekd.models.family import IMAGENET, Defaults, Family

NAMES = "package.module:factory"


class Factory(Family):
    """Networks that the user's code makes."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Call the factory, with the number of classes if it takes an argument."""
        with user_code.working_directory():
            factory = user_code.find(name, NAMES)
            try:
                takes_classes = bool(inspect.signature(factory).parameters)
                module = factory(classes) if takes_classes else factory()
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"'{name}' was called with classes={classes} and failed: {error}. Expected "
                    "factory(classes) or factory()"
                ) from error
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"'{name}' returned a {type(module).__name__}; expected a torch.nn.Module"
            )
        return module

    def defaults(self, name: str) -> Defaults:
        """Return ImageNet's; say otherwise with --mean, --std and the images themselves."""
        del name
        return Defaults((3, 224, 224), IMAGENET)
