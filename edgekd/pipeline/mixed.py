"""Which layers must stay float for an accuracy rule to hold, and a target that leaves them so."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from edgekd.core import specs, statistics
from edgekd.core.records import Interval, State
from edgekd.core.sensitivity import Damage, Mixed, Trial
from edgekd.evaluate.sensitivity import fewest_float
from edgekd.export.target import Target
from edgekd.gate import rules, text


def mix(
    order: Sequence[str],
    damage: Callable[[tuple[str, ...]], Damage],
    rule: specs.AccuracyRule,
    images: int,
) -> Mixed:
    """Search few layers to be left float, by the gate's own rule, against the float network.

    Args:
        order: all layers that are INT8 otherwise, the most sensitive first.
        damage: of the network with these layers in float, on the validation images.
        rule: margin and confidence.
        images: of the validation set.
    """
    trials: list[Trial] = []

    def outcome(
        state: State, message: str, kept: tuple[str, ...] = (), needed: int | None = None
    ) -> Mixed:
        return Mixed(
            margin=rule.margin,
            confidence=rule.confidence,
            state=state,
            keep_float=kept,
            trials=tuple(trials),
            images_needed=needed,
            message=message,
        )

    def passes(keep_float: tuple[str, ...]) -> bool:
        drop = _drop_pp(damage(keep_float), images, 2 * rule.confidence - 1)
        state = rules.side(drop, rule.margin)
        trials.append(Trial(keep_float=keep_float, drop_pp=drop, state=state))
        return state == "passed"

    least = statistics.images_needed(rule.margin / 100, 0.0, confidence=rule.confidence)
    if least is not None and images < least:
        said = "no network, not even one that answers alike, can be shown to pass"
        said = f"{said}: {text.images_that_decide(images, least)}"
        return outcome("inconclusive", said, needed=least)
    kept = fewest_float(order, passes)
    if kept is not None:
        return outcome("passed", _success(kept, len(order)), kept)
    last = trials[-1]
    said = f"not enough, even with {len(last.keep_float)} of {len(order)} layers in float"
    if last.state == "failed":
        return outcome("failed", said)
    found = damage(last.keep_float)
    needed = statistics.images_needed(
        rule.margin / 100,
        (found.lost + found.gained) / images,
        drop=last.drop_pp.value / 100,
        confidence=rule.confidence,
    )
    said = f"{said}: {text.images_that_decide(images, needed)}"
    return outcome("inconclusive", said, needed=needed)


def toml(target: Target, mixed: Mixed, subject: str) -> str:
    """Return a target file that leaves the found layers float."""
    tree = target.model_dump(mode="json", exclude_defaults=True)
    rules_of = {**tree.pop("quantise", {}), "keep_float": list(target.quantise.keep_float)}
    tree["name"] = f"{target.name}-mixed"
    lines = [
        f"# For {json.dumps(subject)} alone: on validation images it loses less than",
        f"# {mixed.margin:g} pp of top-1 against float at {100 * mixed.confidence:g} % confidence.",
        *(f"{key} = {_value(value)}" for key, value in tree.items()),
        "",
        "[quantise]",
        *(f"{key} = {_value(value)}" for key, value in rules_of.items()),
    ]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Write a string, number, truth value or list of strings, alike in JSON and TOML."""
    return json.dumps(value)


def _drop_pp(found: Damage, images: int, confidence: float) -> Interval:
    drop = statistics.paired_difference(found.lost, found.gained, images, confidence)
    return Interval(
        value=100 * drop.value, low=100 * drop.low, high=100 * drop.high, confidence=confidence
    )


def _success(kept: tuple[str, ...], layers: int) -> str:
    if not kept:
        return f"all {layers} layers can be INT8"
    return f"{len(kept)} of {layers} layers must stay float: {', '.join(kept)}"
