"""Feature affinity of FAQD: which positions of an image resemble each other.

Li, Yang, Yin, Qi and Xin, 2023, IEEE Access 11, https://arxiv.org/abs/2302.10899. The paper's forms
are read in its published code; where they sum over the batch, the mean is taken here. Form "ffa2"
is ours: the squared order 2, whose mean over random vectors is exact.

Suffixes: N images, C channels, P = H * W positions, R random vectors.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from edgekd.distill.compare import LAYERS, Layers, check_choice, check_positions, choose
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"
ALIASES = ("faqd",)

Form = Literal["ffa2", "ffa1", "fa1", "fa2"]

_EPSILON = 1e-5


class FeatureAffinity(Method):
    """Match how alike any two positions of a feature map are, whatever the channels mean.

    For each image and tapped layer, with f_p = F_p / (||F_p|| + 1e-5) the channels at position p
    and S = f^T f the affinities [P, P], D = S_student - S_teacher is made small:

    - fa1:   sum of |D| / P^2, in [0, 2]
    - fa2:   ||D||_F / P, where the square is averaged over the images before the root
    - ffa1:  sum of |D z| / P^2, mean over R vectors z of standard normal numbers
    - ffa2:  ||D z||^2 / P^2, mean over R such vectors

    Each is averaged over the images and summed over the layers. ffa forms never make the P * P
    affinities: S z = f^T (f z), so their memory grows with P alone. The expectation of ffa2 is
    ||D||_F^2 / P^2, the square of fa2; that of ffa1 is sqrt(2 / pi) times the sum of D's row
    norms / P^2, which is about sqrt(P) times less than fa1, so its weight is another one.

    Positions' lengths, rotations and permutations of the channels do not matter, nor does their
    number: it suits pruned and quantised students. Pair it with method "kd".

    Args:
        form: which of the four.
        vectors: R, >= 1, for ffa forms.
        max_positions: fa forms average larger maps down to a square of at most so many positions
            first, >= 1.
        layers: "stages" (the last map of each size, as published), "last" or "all".
        adapter: the student's maps go through a 1x1 convolution C -> C with bias and a ReLU first,
            which are trained and thrown away. They begin as the identity (ours).

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_features = True
    works_cached = False
    align: Align = "agnostic"

    def __init__(
        self,
        *,
        form: Form = "ffa2",
        vectors: int = 15,
        max_positions: int = 256,
        layers: Layers = "stages",
        adapter: bool = False,
    ) -> None:
        super().__init__()
        check_choice("form", form, get_args(Form))
        check_choice("layers", layers, LAYERS)
        if vectors < 1 or max_positions < 1:
            raise ValueError(
                f"vectors and max_positions must be >= 1, but are {vectors} and {max_positions}"
            )
        self.form = form
        self.vectors = vectors
        self.side = math.isqrt(max_positions)
        self.layers = layers
        self.align = "adapter" if adapter else "agnostic"
        self._paths: list[str] = []
        self.adapters = nn.ModuleDict()

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the layers, and make the adapters.

        Raises:
            UsageError: no features, or maps of different sizes.
        """
        del surgery
        self._paths = choose("fa", student, self.layers)
        for path in self._paths:
            check_positions("fa", path, student, teacher)
        if self.align == "adapter":
            adapters = {_key(path): _adapter(student.features[path]) for path in self._paths}
            self.adapters = nn.ModuleDict(adapters)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"fa"}."""
        del labels_n
        terms = []
        for path in self._paths:
            here_nchw = student.features[path]
            if self.align == "adapter":
                here_nchw = self.adapters[_key(path)](here_nchw)
            there_nchw = teacher.features[path].detach()
            terms.append(self._compare(here_nchw, there_nchw, step.generator))
        return {"fa": torch.stack(terms).sum()}

    def _compare(
        self, student_nchw: Tensor, teacher_nchw: Tensor, generator: torch.Generator
    ) -> Tensor:
        if self.form in {"fa1", "fa2"}:
            student_nchw, teacher_nchw = self._pooled(student_nchw), self._pooled(teacher_nchw)
        student_ncp, teacher_ncp = _directions(student_nchw), _directions(teacher_nchw)
        images, _, positions = student_ncp.shape
        if self.form == "fa1":
            return (_affinity(student_ncp) - _affinity(teacher_ncp)).abs().mean()
        if self.form == "fa2":
            difference_npp = _affinity(student_ncp) - _affinity(teacher_ncp)
            # vector_norm, for the root has no gradient at 0.
            size: Tensor = torch.linalg.vector_norm(difference_npp)
            return size / (positions * math.sqrt(images))
        random_pr = torch.randn(
            positions, self.vectors, generator=generator, dtype=student_ncp.dtype
        ).to(student_ncp.device)
        seen_npr = _affinity_of(student_ncp, random_pr) - _affinity_of(teacher_ncp, random_pr)
        sizes_npr = seen_npr.square() if self.form == "ffa2" else seen_npr.abs()
        return sizes_npr.mean() / positions  # the mean has divided by P once

    def _pooled(self, maps_nchw: Tensor) -> Tensor:
        height, width = maps_nchw.shape[2:]
        if height <= self.side and width <= self.side:
            return maps_nchw
        return F.adaptive_avg_pool2d(maps_nchw, (min(height, self.side), min(width, self.side)))


def _directions(maps_nchw: Tensor) -> Tensor:
    maps_ncp = maps_nchw.flatten(2)
    length_n1p: Tensor = torch.linalg.vector_norm(maps_ncp, dim=1, keepdim=True)
    return maps_ncp / (length_n1p + _EPSILON)


def _affinity(directions_ncp: Tensor) -> Tensor:
    return directions_ncp.transpose(1, 2) @ directions_ncp


def _affinity_of(directions_ncp: Tensor, random_pr: Tensor) -> Tensor:
    return directions_ncp.transpose(1, 2) @ (directions_ncp @ random_pr)


def _adapter(maps_nchw: Tensor) -> nn.Sequential:
    channels = maps_nchw.shape[1]
    # Without its own random weights, which would change what is drawn after it.
    convolution = nn.utils.skip_init(nn.Conv2d, channels, channels, 1)  # type: ignore[no-untyped-call]
    assert isinstance(convolution, nn.Conv2d)
    nn.init.dirac_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(convolution, nn.ReLU()).to(maps_nchw.device, maps_nchw.dtype)


def _key(path: str) -> str:
    return path.replace(".", "/")  # a ModuleDict takes no dots
