"""What networks may say, and how a test asks a method about it."""

import torch
from torch import Tensor

from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery


def logits(seed: int, images: int = 5, classes: int = 7, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(images, classes, generator=generator, dtype=torch.float64)


def maps(seed: int, images: int = 3, channels: int = 6, side: int = 5) -> Tensor:
    """ReLU-like features."""
    generator = torch.Generator().manual_seed(seed)
    shape = (images, channels, side, side)
    return torch.randn(shape, generator=generator, dtype=torch.float64).relu()


def said(*features: Tensor) -> Outputs:
    named = {f"layer{number}": feature for number, feature in enumerate(features)}
    return Outputs(torch.zeros(len(features[0]), 3), named)


def step(epoch: int = 0, seed: int = 0) -> Step:
    return Step(epoch, 10, torch.Generator().manual_seed(seed))


def terms(
    method: Method,
    student: Outputs | Tensor,
    teacher: Outputs | Tensor,
    surgery: Surgery | None = None,
) -> dict[str, Tensor]:
    """Prepare a method and ask it; a tensor is the map of the only layer."""
    student = said(student) if isinstance(student, Tensor) else student
    teacher = said(teacher) if isinstance(teacher, Tensor) else teacher
    method.prepare(student, teacher, surgery or Surgery.none())
    return method(student, teacher, None, step())
