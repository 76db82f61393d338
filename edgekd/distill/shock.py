"""Gradient shock: how hard the first steps of a stage hit the backbone, against its last ones.

rho = max over the stage's first 100 steps of |g| / median over its last epoch's steps of |g|

with |g| the L2 norm of the gradient of all parameters but the classifier's, before clipping. The
name and the remedy (steady the classifier first) are those of two-stage distillation (Stuchnyi
intelekt 31(1), 2026, pp. 59-69, read as an abstract); how it is measured is ours.
"""

import torch
from torch import Tensor, nn

EARLY_STEPS = 100  # of a stage


class Shock:
    """Collects the norms of one epoch on the device; they are read once, at its end.

    Args:
        module: the student.
        classifier: dotted name of its last layer, which does not count.
    """

    def __init__(self, module: nn.Module, classifier: str) -> None:
        head = {id(parameter) for parameter in module.get_submodule(classifier).parameters()}
        self.backbone = [
            parameter
            for parameter in module.parameters()
            if parameter.requires_grad and id(parameter) not in head
        ]
        self._norms: list[Tensor] = []

    def note(self) -> Tensor | None:
        """Note the norm of the gradients as they are now, and return it; None: nothing learns."""
        gradients = [p.grad for p in self.backbone if p.grad is not None]
        if not gradients:
            return None
        self._norms.append(nn.utils.get_total_norm(gradients, foreach=True))
        return self._norms[-1]

    def read(self, first_step: int) -> tuple[float | None, float | None]:
        """Return the largest early norm and the median of all, and forget them.

        Args:
            first_step: of the stage, from 0: where the collected ones begin.

        Returns:
            The maximum over those of the stage's first 100 steps, None if there are none; and the
            median over all (of an even number: the mean of both in the middle), None if there are
            none.
        """
        if not self._norms:
            return None, None
        norms_s = torch.stack(self._norms).double().cpu()
        self._norms = []
        early_s = norms_s[: max(0, EARLY_STEPS - first_step)]
        return float(early_s.max()) if len(early_s) else None, float(norms_s.quantile(0.5))
