"""Feature-distribution distillation in the style of FDKD (2022) and its layer-wise form (2025).

Reconstructed from two abstracts: Hong and Kim, ISOCC 2022, pp. 75-76, and Engineering Applications
of Artificial Intelligence 159:111597. They say that "the distribution information of feature maps
obtained by a simple operation" is transferred; which operation is not to be read there, so the
formulas below are ours. Results are not a reproduction of theirs.

Suffixes: N images, C channels, P = H * W positions.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from edgekd.core.errors import UsageError, did_you_mean
from edgekd.distill.compare import (
    check_choice,
    check_positions,
    check_positive,
    choose,
    divergence,
    kept,
    select,
    standardise,
)
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"

_FEWEST_POSITIONS = 16  # a distribution over fewer says next to nothing
_EPSILON = 1e-6
_WAY_OUT = 'Use modes = ["spatial"], which needs no such match'


class FDKD(Method):
    """Match distributions of feature maps, which survive a change of scale, instead of values.

    For each tapped layer, with s(v) = (v - mean v) / (std v + 1e-6) for each image:

    - channel:  P = softmax(s(mean over positions of F) / tau), over the channels kept by pruning
    - spatial:  P = softmax(s(mean over channels of F^2) / tau), over positions
    - per_channel_spatial:  P = softmax(F / tau) over positions, averaged over the kept channels
    - moments:  (mu_S - mu_T)^2 / var_T + (log sigma_S - log sigma_T)^2, averaged over the kept
      channels; mu and sigma are taken over images and positions, and 1 % of the channels' mean
      var_T is added to each variance

    The first three give tau^2 * mean over images of KL(P_T || P_S). Layers of fewer than 16
    positions are left out where positions are compared.

    Args:
        modes: which of the four, each a term of its own.
        layers: "last" (the last convolutional feature) or "all" (every block).
        layer_weights: "uniform", or "depth": in proportion to the layer's number. They sum to 1.
        temperature: tau, > 0, no unit.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_features = True
    works_cached = False
    align: Align = "index"

    def __init__(
        self,
        *,
        modes: Sequence[str] = ("channel", "spatial"),
        layers: Literal["last", "all"] = "last",
        layer_weights: Literal["uniform", "depth"] = "uniform",
        temperature: float = 2.0,
    ) -> None:
        super().__init__()
        if isinstance(modes, str) or not modes or len(set(modes)) < len(modes):
            raise ValueError(f"modes must be a list of different names, but is {modes!r}")
        for mode in modes:
            if mode not in _MODES:
                raise ValueError(f"there is no mode '{mode}'.{did_you_mean(mode, _MODES)}")
        check_choice("layers", layers, ("last", "all"))
        check_choice("layer_weights", layer_weights, ("uniform", "depth"))
        check_positive("temperature", temperature)
        self.modes = tuple(modes)
        self.layers = layers
        self.layer_weights = layer_weights
        self.temperature = temperature
        if self.modes == ("spatial",):
            self.align = "agnostic"
        self._kept: dict[str, Tensor | None] = {}
        self._weights: dict[str, dict[str, float]] = {}

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the layers of each mode, and look up which channels of the teacher to compare.

        Raises:
            UsageError: no features, maps of different sizes, or channels that cannot be matched.
        """
        paths = choose("fdkd", student, self.layers)
        for path in paths:
            check_positions("fdkd", path, student, teacher)
            if self.align == "index":
                self._kept[path] = kept("fdkd", path, student, teacher, surgery, _WAY_OUT)
        for mode in self.modes:
            weighed = self._weigh(mode, paths, student)
            if not weighed:
                shape = list(student.features[paths[-1]].shape[2:])
                raise UsageError(
                    f"fdkd: mode '{mode}' needs maps of {_FEWEST_POSITIONS} positions or more, "
                    f'found {shape}. Leave it out of modes, or use layers = "all"'
                )
            self._weights[mode] = weighed

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"fdkd_MODE"} for each mode."""
        del labels_n, step
        terms = {}
        for mode in self.modes:
            losses = [
                weight
                * _MODES[mode](
                    student.features[path],
                    teacher.features[path].detach(),
                    self._kept.get(path),
                    self.temperature,
                )
                for path, weight in self._weights[mode].items()
            ]
            terms[f"fdkd_{mode}"] = torch.stack(losses).sum()
        return terms

    def _weigh(self, mode: str, paths: list[str], student: Outputs) -> dict[str, float]:
        """Return the weight of each layer that the mode can use; their sum is 1."""
        over_positions = mode in {"spatial", "per_channel_spatial"}
        raw = {
            path: float(number) if self.layer_weights == "depth" else 1.0
            for number, path in enumerate(paths, start=1)
            if not over_positions or student.features[path][0, 0].numel() >= _FEWEST_POSITIONS
        }
        return {path: weight / sum(raw.values()) for path, weight in raw.items()}


def channel(
    student_nchw: Tensor, teacher_nchw: Tensor, indices_c: Tensor | None, tau: float
) -> Tensor:
    """Compare which channels are strong; positions do not matter, nor do scale and offset."""
    pooled_nc = student_nchw.mean(dim=(2, 3))
    target_nc = select(teacher_nchw.mean(dim=(2, 3)), indices_c)
    return divergence(standardise(pooled_nc), standardise(target_nc), tau)


def spatial(
    student_nchw: Tensor, teacher_nchw: Tensor, indices_c: Tensor | None, tau: float
) -> Tensor:
    """Compare where the energy lies; channels do not matter, nor does scale."""
    del indices_c
    energy_np = student_nchw.square().mean(dim=1).flatten(1)
    target_np = teacher_nchw.square().mean(dim=1).flatten(1)
    return divergence(standardise(energy_np), standardise(target_np), tau)


def per_channel_spatial(
    student_nchw: Tensor, teacher_nchw: Tensor, indices_c: Tensor | None, tau: float
) -> Tensor:
    """Compare for each channel where it is strong: Shu et al., 2021, arXiv:2011.13256."""
    return divergence(student_nchw.flatten(2), select(teacher_nchw, indices_c).flatten(2), tau)


def moments(
    student_nchw: Tensor, teacher_nchw: Tensor, indices_c: Tensor | None, tau: float
) -> Tensor:
    """Compare mean and deviation of each channel over the batch."""
    del tau
    var_s_c, mean_s_c = torch.var_mean(student_nchw, dim=(0, 2, 3), correction=0)
    var_t_c, mean_t_c = torch.var_mean(teacher_nchw, dim=(0, 2, 3), correction=0)
    var_t_c, mean_t_c = select(var_t_c, indices_c, 0), select(mean_t_c, indices_c, 0)
    # Without a floor a channel that the teacher never uses would drown all the others.
    floor = 0.01 * var_t_c.mean() + _EPSILON
    shift_c = (mean_s_c - mean_t_c).square() / (var_t_c + floor)
    # log sigma = log(var) / 2
    spread_c = ((var_s_c + floor).log() - (var_t_c + floor).log()).square() / 4
    return (shift_c + spread_c).mean()


_MODES: dict[str, Callable[[Tensor, Tensor, Tensor | None, float], Tensor]] = {
    "channel": channel,
    "spatial": spatial,
    "per_channel_spatial": per_channel_spatial,
    "moments": moments,
}
