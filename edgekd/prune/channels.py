"""Remove whole channels, so that a share of the multiply-accumulates is left."""

import copy
import logging

from torch import nn

from edgekd.core import plugins
from edgekd.core.errors import UsageError
from edgekd.core.specs import Prune
from edgekd.models import fake_quant
from edgekd.models.checkpoint import count
from edgekd.models.surgery import Surgery, replay
from edgekd.prune import budget, cut, equivalence, graph
from edgekd.prune.budget import Candidate
from edgekd.prune.group import Criterion

_LOG = logging.getLogger(__name__)


def prune(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    spec: Prune,
    *,
    surgery_so_far: Surgery | None = None,
) -> Surgery:
    """Remove the least important channels, in place.

    The logits stay whole, and so does what cannot be cut safely: that is tried out, and a warning
    names it. ``spec.macs`` is a share of the MACs that ``module`` has now; it is reached within
    ``budget.TOLERANCE``. With several rounds each removes an equal part, and the channels are
    judged anew in between.

    Args:
        module: a network on any device; its mode and ``requires_grad`` are left as they are.
        input_shape: C, H, W.
        spec: criterion, share, rounding, scope, spread.
        surgery_so_far: what was removed from ``module`` before; None: nothing.

    Returns:
        What is left of the network as its name builds it, ``surgery_so_far`` included.

    Raises:
        UsageError: no such criterion, the network is quantised, or the share is out of reach; the
            reachable one is named.
    """
    if fake_quant.of(module).layers:
        raise UsageError("the network is quantised: prune the float one first, then quantise")
    # mypy: an abstract class is what create() looks for, not what it returns.
    criterion = plugins.create(plugins.CRITERIA, spec.criterion, Criterion, {})  # type: ignore[type-abstract]
    _, macs = count(module, input_shape)
    trial = copy.deepcopy(module)  # so that an error leaves the network whole
    whole = Surgery.none()
    widths: dict[str, int] = {}
    for number in range(1, spec.rounds + 1):
        share = 1 - (1 - spec.macs) * number / spec.rounds
        step = _round(trial, input_shape, spec, (criterion, share * macs, macs, widths))
        replay(trial, step)
        whole = whole.then(step)
    _, left = count(trial, input_shape)
    if abs(left / macs - spec.macs) > budget.TOLERANCE:
        raise UsageError(
            f"{left / macs:.3f} of the MACs is the nearest to {spec.macs:.3f} that can be reached "
            f"with round_to = {spec.round_to}: ask for that, or take a smaller round_to"
        )
    _LOG.info("%.1f %% of the MACs are left", 100 * left / macs)
    replay(module, whole)
    return whole if surgery_so_far is None else surgery_so_far.then(whole)


def _round(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    spec: Prune,
    task: tuple[Criterion, float, float, dict[str, int]],
) -> Surgery:
    """Return one round's cut; ``task``: criterion, MACs to be left, MACs and widths before any."""
    criterion, goal, macs, widths = task
    interior = spec.scope == "interior"
    traced = graph.trace(module, input_shape, interior=interior, keep=spec.keep)
    couplings = cut.sound(module, input_shape, traced)
    groups = [coupling.group for coupling in couplings]
    if not groups:
        raise UsageError(
            f"{type(module).__name__} has no channels that can be removed with scope = "
            f"'{spec.scope}' and keep = {list(spec.keep)}"
        )
    candidates = [
        Candidate(
            group,
            criterion.score(group).detach().float().cpu(),
            widths.setdefault(group.root, group.channels),
        )
        for group in groups
    ]
    cost = budget.Cost(budget.layers(module, input_shape), groups)
    kept = budget.allot(cost, candidates, spec, goal=goal, whole=macs)
    gone = [
        cut.least(each.group, each.score_c, channels)
        for each, channels in zip(candidates, kept, strict=True)
    ]
    result = cut.surgery(groups, gone)
    lost = cut.lost_outputs(couplings, gone)
    return Surgery(result.kept, equivalence.traced_outputs(module, result, input_shape, lost))
