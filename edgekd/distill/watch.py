"""Measure how strongly each loss term pulls at the student, so that their weights can be judged."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.distill.batches import Batch
from edgekd.distill.lesson import Lesson
from edgekd.distill.method import Outputs, Step
from edgekd.models import score


def gradients(
    lesson: Lesson, point: str | None, batch: Batch, step: Step, *, by_method: bool = False
) -> dict[str, float]:
    """Return the norm of each weighted term's gradient at one layer of the student.

    The student is asked in evaluation mode, so its statistics stay as they are; what lies before
    the layer is not differentiated, so this costs little more than one forward pass.

    Args:
        lesson: whose terms.
        point: path of a module, at whose output to measure: the last convolutional feature. None:
            at the input of the classifier.
        batch: the images.
        step: where the training stands; its generator is used up.
        by_method: take the terms of a method together, and name them by its number: "0", "1" ...
    """
    leaf: list[Tensor] = []

    def cut(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        del module, args
        leaf.append(output.detach().requires_grad_())
        return leaf[-1].clone()  # what follows may work in place

    def cut_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del module
        leaf.append(args[0].detach().requires_grad_())
        return (leaf[-1].clone(), *args[1:])

    module = lesson.student.module
    if point is None:
        hook = module.get_submodule(lesson.classifier).register_forward_pre_hook(cut_input)
    else:
        # Before the taps' hooks, so that they see the leaf.
        hook = module.get_submodule(point).register_forward_hook(cut, prepend=True)
    taught = lesson.teach(batch, step)
    try:
        with score.evaluating(module):
            student: Outputs = lesson.look(taught.images_nchw, lesson.student)
    finally:
        hook.remove()
    terms = lesson.terms(taught, student, step)
    if by_method:
        together: dict[str, Tensor] = {}
        for name, term in terms.items():
            key = str(lesson.owners[name]) if name in lesson.owners else name
            together[key] = together[key] + term if key in together else term
        terms = together
    norms = {}
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, leaf[-1], retain_graph=True, allow_unused=True)
        norms[name] = 0.0 if gradient is None else float(gradient.norm())
    return norms
