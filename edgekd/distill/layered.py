"""What methods share whose one term is a sum over layers."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from edgekd.distill.compare import LAYERS, Layers, check_choice, choose
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery


class Layered(Method):
    """A sum over layers of how far the student's map is from the teacher's; channels may differ.

    Args:
        layers: "stages" (the last map of each size), "last" or "all".

    Raises:
        ValueError: ``layers`` is something else.
    """

    term: ClassVar[str]  # its name
    needs_features = True
    works_cached = False
    align: Align = "agnostic"

    def __init__(self, *, layers: Layers = "stages") -> None:
        super().__init__()
        check_choice("layers", layers, LAYERS)
        self.layers = layers
        self._paths: list[str] = []

    @abstractmethod
    def apart(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Return the distance of two maps as a scalar; the teacher's carries no graph."""

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the layers.

        Raises:
            UsageError: there are no features.
        """
        del teacher, surgery
        self._paths = choose(self.term, student, self.layers)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return the one term."""
        del labels_n, step
        losses = [
            self.apart(student.features[path], teacher.features[path].detach())
            for path in self._paths
        ]
        return {self.term: torch.stack(losses).sum()}
