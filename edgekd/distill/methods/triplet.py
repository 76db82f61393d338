"""Metric-learning distillation: Oki et al., IJCNN 2020, https://arxiv.org/abs/2004.08116.

From the abstract: the student's output for an image is drawn to the teacher's output for it and
pushed from the teacher's for images of other classes. Distances, margins and the choice of the
negative are ours.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import check_choice, check_positive
from edgekd.distill.method import Method, Outputs, Step

EVIDENCE = "abstract"
ALIASES = ("metric-kd",)

_MARGINS = {"softmax": 0.5, "logits": 1.0}


class Triplet(Method):
    """Come nearer to what the teacher says of an image than to what it says of other classes.

    With d the squared L2 distance, a = the student's output for image i, p = the teacher's for the
    same, n = the teacher's for an image of another class, averaged over the N images:

    - form "triplet": max(0, d(a, p) - d(a, n) + m); 0 once the margin is kept, so it is not
      0 for a student that equals a teacher whose classes lie nearer than m
    - form "pair": d(a, p) + max(0, m - sqrt(d(a, n)))^2

    An image without any of another class in its batch has no negative: "triplet" skips it (0),
    "pair" keeps its first part alone.

    Args:
        form: "triplet" or "pair".
        outputs: "softmax": class probabilities, d up to 2; "logits": logits scaled to length 1, d
            up to 4.
        margin: m, > 0; None: 0.5 for "softmax", 1 for "logits".
        negatives: "random": any image of another class; "hardest": the one that the student's
            output lies nearest to.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        form: Literal["triplet", "pair"] = "triplet",
        outputs: Literal["softmax", "logits"] = "softmax",
        margin: float | None = None,
        negatives: Literal["random", "hardest"] = "random",
    ) -> None:
        super().__init__()
        check_choice("form", form, ("triplet", "pair"))
        check_choice("outputs", outputs, tuple(_MARGINS))
        check_choice("negatives", negatives, ("random", "hardest"))
        self.margin = _MARGINS[outputs] if margin is None else margin
        check_positive("margin", self.margin)
        self.form = form
        self.outputs = outputs
        self.negatives = negatives

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"triplet"}."""
        assert labels_n is not None
        mine_nk = self._embed(student.logits_nk)
        theirs_nk = self._embed(teacher.logits_nk.detach())
        others_nn = labels_n[:, None] != labels_n
        has_n = others_nn.any(dim=1)
        chosen_n = self._choose(mine_nk.detach(), theirs_nk, others_nn, step)
        near_n = (mine_nk - theirs_nk).square().sum(dim=1)
        far_n = (mine_nk - theirs_nk[chosen_n]).square().sum(dim=1)
        if self.form == "triplet":
            loss_n = torch.where(has_n, F.relu(near_n - far_n + self.margin), 0.0)
        else:
            apart_n = torch.where(far_n > 0, far_n, 1.0).sqrt() * (far_n > 0)  # no slope at 0
            loss_n = near_n + torch.where(has_n, F.relu(self.margin - apart_n).square(), 0.0)
        return {"triplet": loss_n.mean()}

    def _embed(self, logits_nk: Tensor) -> Tensor:
        if self.outputs == "softmax":
            return logits_nk.softmax(dim=1)
        return F.normalize(logits_nk, dim=1)

    def _choose(self, mine_nk: Tensor, theirs_nk: Tensor, others_nn: Tensor, step: Step) -> Tensor:
        """Return the number of each image's negative; any number where there is none."""
        if self.negatives == "hardest":
            score_nn = -torch.cdist(mine_nk, theirs_nk)
        else:
            drawn_nn = torch.rand(others_nn.shape, generator=step.generator)
            score_nn = drawn_nn.to(others_nn.device)
        return score_nn.masked_fill(~others_nn, -torch.inf).argmax(dim=1)
