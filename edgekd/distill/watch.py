"""Measure how strongly each loss term pulls at the student, so that their weights can be judged."""

from typing import Any

import torch
from torch import Tensor, nn

from edgekd.distill.batches import Batch
from edgekd.distill.lesson import Lesson
from edgekd.distill.method import Outputs, Step
from edgekd.models import score


def gradient_norms(lesson: Lesson, point: str | None, batch: Batch, step: Step) -> dict[str, float]:
    """Return the norm of each weighted term's gradient at one layer of the student.

    The student is asked in evaluation mode, so its statistics stay as they are; what lies before
    the layer is not differentiated, so this costs little more than one forward pass.

    Args:
        lesson: whose terms.
        point: path of a module, at whose output to measure: the last convolutional feature. None:
            at the input of the classifier.
        batch: the images.
        step: where the training stands; its generator is used up.
    """
    leaf: list[Tensor] = []

    def cut(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        del module, args
        leaf.append(output.detach().requires_grad_())
        return leaf[-1]

    def cut_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        del module
        leaf.append(args[0].detach().requires_grad_())
        return (leaf[-1], *args[1:])

    module = lesson.student.module
    if point is None:
        hook = module.get_submodule(lesson.classifier).register_forward_pre_hook(cut_input)
    else:
        # Before the taps' hooks, so that they see the leaf.
        hook = module.get_submodule(point).register_forward_hook(cut, prepend=True)
    teacher = lesson.teach(batch)
    try:
        with score.evaluating(module):
            student: Outputs = lesson.look(batch, lesson.student)
    finally:
        hook.remove()
    terms = lesson.terms(student, teacher, batch.labels_n, step)
    norms = {}
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, leaf[-1], retain_graph=True, allow_unused=True)
        norms[name] = 0.0 if gradient is None else float(gradient.norm())
    return norms
