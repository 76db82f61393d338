"""What methods share: which layers to read, how channels and positions meet, what a KL is.

Suffixes: N images, C channels, H x W positions.
"""

import logging
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.distill.method import Align, Outputs
from edgekd.models.surgery import Surgery

Layers = Literal["last", "stages", "all"]
LAYERS = ("last", "stages", "all")

log = logging.getLogger(__name__)

_EPSILON = 1e-6
_PAIR = 2  # classes
_HIGH = 4.0  # a temperature
_ADAPT = "Use align = \"adapter\", or method 'at', which needs no such match"


def check_choice(key: str, value: object, takes: Sequence[str]) -> None:
    """Raise ValueError if an option is none of the words that it takes."""
    if value not in takes:
        raise ValueError(f"{key} must be one of {', '.join(takes)}, but is {value!r}")


def check_positive(key: str, value: float) -> None:
    """Raise ValueError if an option is not above 0."""
    if not value > 0:
        raise ValueError(f"{key} must be > 0, but is {value}")


def check_not_negative(key: str, value: float) -> None:
    """Raise ValueError if an option is below 0."""
    if not value >= 0:
        raise ValueError(f"{key} must be >= 0, but is {value}")


def check_classes(name: str, logits_nk: Tensor, temperature: float) -> None:
    """Warn where soft labels say next to nothing: of two classes, at a high temperature."""
    if logits_nk.shape[1] == _PAIR and temperature > _HIGH:
        log.warning(
            "%s: with two classes soft labels carry one number, and temperature %g flattens it; "
            "use logit_mse or a lower temperature",
            name,
            temperature,
        )


def check_standardised(name: str, logits_nk: Tensor) -> None:
    """Refuse to standardise the logits of two classes: it makes them -1 and 1, whatever they are.

    Raises:
        UsageError: there are two.
    """
    if logits_nk.shape[1] == _PAIR:
        raise UsageError(
            f"{name} standardises logits, which leaves nothing of those of two classes. Use method "
            "'logit_mse'"
        )


def choose(name: str, student: Outputs, layers: Layers) -> list[str]:
    """Return the paths of the layers to compare, in the order of the network.

    Args:
        name: of the method, for the message.
        student: what it says in a dry run.
        layers: "last" (the last convolutional feature), "stages" (the last one of each size of
            maps) or "all".

    Raises:
        UsageError: there are no features.
    """
    paths = list(student.features)
    if not paths:
        raise UsageError(
            f"{name} compares features, but the student has none that it can tap. Use method "
            "'kd', which compares logits alone"
        )
    if layers == "last":
        return paths[-1:]
    if layers == "stages":
        sizes = groupby(paths, key=lambda path: student.features[path].shape[2:])
        return [list(group)[-1] for _, group in sizes]
    return paths


def check_positions(name: str, path: str, student: Outputs, teacher: Outputs) -> None:
    """Refuse maps of different height or width, where a method compares position by position.

    Raises:
        UsageError: they differ.
    """
    here, there = student.features[path].shape[2:], teacher.features[path].shape[2:]
    if here != there:
        raise UsageError(
            f"{name} compares positions, but '{path}' has {list(here)} of them in the student and "
            f"{list(there)} in the teacher. Use method 'at' or 'feature_mse', which average the "
            "larger map down, or 'kd', which compares logits alone"
        )


def kept(
    name: str, path: str, student: Outputs, teacher: Outputs, surgery: Surgery, way_out: str
) -> Tensor | None:
    """Return which of the teacher's channels the student kept at ``path``; None: all.

    Args:
        name: of the method, for the message.
        path: of the tapped module.
        student: what it says in a dry run.
        teacher: likewise.
        surgery: what pruning left.
        way_out: what to do where it is not known, as a sentence without its full stop.

    Raises:
        UsageError: it is not known.
    """
    feature_nchw = student.features[path]
    here, there = feature_nchw.shape[1], teacher.features[path].shape[1]
    indices = surgery.kept_output(path)
    if indices is None and here == there:
        return None
    if indices is None or len(indices) != here or max(indices) >= there:
        raise UsageError(
            f"{name}: which of the teacher's {there} channels the student's {here} at '{path}' "
            f"stem from is not known. {way_out}"
        )
    return torch.tensor(indices, device=feature_nchw.device)


def match(
    name: str,
    paths: Sequence[str],
    align: Align,
    student: Outputs,
    teacher: Outputs,
    surgery: Surgery,
) -> tuple[dict[str, Tensor | None], nn.ModuleList]:
    """Return how channels meet: the teacher's that count, by path, and an adapter for each path.

    Args:
        name: of the method, for the message.
        paths: of the layers.
        align: "index": the channels that pruning kept, and no adapters; "adapter": all channels.
        student: what it says in a dry run.
        teacher: likewise.
        surgery: what pruning left.

    Raises:
        UsageError: "index", and which channels were kept is not known.
    """
    if align == "index":
        found = {path: kept(name, path, student, teacher, surgery, _ADAPT) for path in paths}
        return found, nn.ModuleList()
    adapters = [
        adapter(student.features[path], teacher.features[path], surgery, path) for path in paths
    ]
    return dict.fromkeys(paths), nn.ModuleList(adapters)


def select(values: Tensor, indices: Tensor | None, axis: int = 1) -> Tensor:
    """Return the entries of ``axis`` that ``indices`` name; None: all."""
    return values if indices is None else values.index_select(axis, indices)


def same_size(one_nchw: Tensor, other_nchw: Tensor) -> tuple[Tensor, Tensor]:
    """Average each of two maps down to the smaller height and the smaller width of both."""
    height, width = (
        min(mine, theirs)
        for mine, theirs in zip(one_nchw.shape[2:], other_nchw.shape[2:], strict=True)
    )
    return _pool(one_nchw, height, width), _pool(other_nchw, height, width)


def _pool(map_nchw: Tensor, height: int, width: int) -> Tensor:
    if map_nchw.shape[2:] == (height, width):
        return map_nchw
    return F.adaptive_avg_pool2d(map_nchw, (height, width))


def attention(map_nchw: Tensor) -> Tensor:
    """Return where the energy lies: mean of squares over channels as a unit vector [N, H * W]."""
    return F.normalize(map_nchw.square().mean(dim=1).flatten(1), dim=1)


def adapter(student_nchw: Tensor, teacher_nchw: Tensor, surgery: Surgery, path: str) -> nn.Conv2d:
    """Return a 1x1 convolution, without bias, from the student's channels to the teacher's.

    It starts as the identity: each channel goes to the one of the teacher that it stems from, or,
    if that is not known, to the one of the same number. No random number is drawn, so that all
    processes begin alike.
    """
    inner, outer = student_nchw.shape[1], teacher_nchw.shape[1]
    indices = surgery.kept_output(path)
    if indices is None or len(indices) != inner or max(indices) >= outer:
        indices = tuple(range(min(inner, outer)))
    weight_oi = torch.zeros(outer, inner, dtype=student_nchw.dtype, device=student_nchw.device)
    weight_oi[list(indices), list(range(len(indices)))] = 1
    return pointwise(weight_oi)


def pointwise(weight_oi: Tensor) -> nn.Conv2d:
    """Return a 1x1 convolution, without bias, of the given weights."""
    outer, inner = weight_oi.shape
    conv = nn.Conv2d(inner, outer, 1, bias=False, device="meta")  # draws no random numbers
    conv.weight = nn.Parameter(weight_oi[:, :, None, None].clone())
    return conv


def standardise(values: Tensor) -> Tensor:
    """Return (v - mean) / (std + 1e-6) over the last axis; 0 where all are equal."""
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / (values.std(dim=-1, keepdim=True, correction=0) + _EPSILON)


def divergence(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return tau^2 * KL(softmax(teacher / tau) || softmax(student / tau)) as a scalar.

    It is summed over the last axis and averaged over the others.
    """
    return divergences(student, teacher, tau).mean()


def divergences(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return the same for each vector on the last axis: [N, K] -> [N]."""
    log_q = F.log_softmax(student / tau, dim=-1)
    log_p = F.log_softmax(teacher / tau, dim=-1)
    return tau**2 * F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)
