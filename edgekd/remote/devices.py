"""Devices: ``profiles/NAME.toml`` says how an agent is reached and which engine it drives."""

from typing import Literal

from edgekd.core import catalogue, checking


class Device(checking.Spec):
    """A place where models run."""

    description: str
    reach: Literal["local"]  # the agent is a subprocess of this process
    engine: Literal["onnxruntime"]


def find(name: str) -> Device:
    """Read a built-in device, or a file of the user's own if ``name`` ends in ``.toml``.

    Raises:
        UsageError: there is no such device, or its file has unknown keys or values.
    """
    return checking.checked(Device, catalogue.read("profiles", name), f"device '{name}'")
