"""Why an INT8 engine is not faster: where its time goes, and what to do about it.

Times are those of the layers, measured one by one; they add up to more than an inference takes,
and shares are of their sum.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekd.agent.layers import Profile, percentile
from edgekd.core.errors import UsageError
from edgekd.profile.causes import FLOATS, Cause, Row, causes, verdict
from edgekd.profile.layers import (
    Engine,
    Layer,
    module_of,
    operator_of,
    read_engine,
    read_profile,
    read_times,
)
from edgekd.profile.placement import Weighted, read_placement

_NAMES_ONLY = (
    "What the layers compute in is not known: build the engine anew with "
    "--profilingVerbosity=detailed."
)
_PAIRED = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Explanation:
    """The answer, worst first."""

    verdict: str
    total_ms: float  # of all layers, in one inference
    latency_ms: float | None  # median of inferences; None: not given
    inferences: int
    int8_share: float  # of time, in layers with INT8 weights
    int8_layers: int
    weighted_layers: int
    causes: tuple[Cause, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def explain(
    layers: Path, profile: Path, model: Path | None = None, times: Path | None = None
) -> Explanation:
    """Say where the time of an engine goes and what keeps INT8 from being faster.

    Args:
        layers: what ``trtexec --exportLayerInfo`` wrote, with detailed verbosity.
        profile: what ``trtexec --exportProfile`` wrote of the same engine.
        model: the ONNX file that it was built from; tells why layers run in float.
        times: what ``trtexec --exportTimes`` wrote; tells how much the layers hide.

    Raises:
        UsageError: a file cannot be read, or the two are of different engines.
    """
    engine, measured = read_engine(layers), read_profile(profile)
    placement = read_placement(model) if model else {}
    timed, notes = _join(engine, measured)
    total = sum(timed.values())
    if not total:
        raise UsageError(f"'{profile}' gives no layer any time: profile more inferences")
    rows = sorted(_rows(engine, timed, placement, total), key=lambda row: -row.ms)
    weighted = [row for row in rows if row.role == "weighted"]
    integer = [row for row in weighted if row.precision == "int8"]
    latency = percentile(read_times(times).compute_ms, 50) if times else None
    found = causes(rows) if engine.detailed else []
    return Explanation(
        verdict=verdict(rows, found) if engine.detailed else _NAMES_ONLY,
        total_ms=total,
        latency_ms=latency,
        inferences=measured.inferences,
        int8_share=sum(row.share for row in integer),
        int8_layers=len(integer),
        weighted_layers=len(weighted),
        causes=tuple(found),
        rows=tuple(rows),
        notes=(*notes, *_remarks(engine, measured, total, latency, placement, rows)),
    )


def _join(engine: Engine, profile: Profile) -> tuple[dict[int, float], list[str]]:
    """Return the mean time of each layer by its number; layers of one name in their order."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, layer in enumerate(engine.layers):
        places[layer.name].append(index)
    timed: dict[int, float] = defaultdict(float)
    unknown, seen = 0.0, dict.fromkeys(places, 0)
    for time in profile.layers:
        there = places.get(time.name)
        if there is None:
            unknown += time.mean_ms
            continue
        timed[there[seen[time.name] % len(there)]] += time.mean_ms
        seen[time.name] += 1
    if not timed:
        raise UsageError(
            "no layer of the profile is in the list of layers: give files of the same engine"
        )
    if not unknown:
        return dict(timed), []
    share = unknown / (unknown + sum(timed.values()))
    note = f"{share:.0%} of the profile's time is in layers that the list of layers lacks: left out"
    return dict(timed), [note]


def _rows(
    engine: Engine, timed: dict[int, float], placement: dict[str, Weighted], total: float
) -> Iterator[Row]:
    for index, ms in timed.items():
        layer = engine.layers[index]
        own = [node for node in layer.nodes if operator_of(node) not in _PAIRED]
        modules = dict.fromkeys(filter(None, map(module_of, own)))
        yield Row(
            layer.name,
            layer.role,
            layer.precision,
            ms,
            ms / total,
            layer.nodes,
            tuple(modules),
            _note(engine, layer, placement),
        )


def _note(engine: Engine, layer: Layer, placement: dict[str, Weighted]) -> str:
    if layer.role == "weighted" and layer.precision in FLOATS:
        known = [placement[node] for node in layer.nodes if node in placement]
        if known:
            return known[0].reason()
        given = layer.inputs[0].dtype if layer.inputs else ""
        return "its input is INT8, its weights are not" if given == "int8" else "its input is float"
    if layer.role in {"reformat", "quantise"}:
        return _between(engine, layer)
    if layer.role == "pointwise" and (before := _weighted_before(engine, layer)):
        return f"not fused with {_short(before)}"
    return ""


def _between(engine: Engine, layer: Layer) -> str:
    """Say what a reformat changes, and between which layers."""
    if not layer.inputs or not layer.outputs:
        return ""
    one, other = layer.inputs[0], layer.outputs[0]
    if one.dtype != other.dtype:
        change = f"{one.dtype or '?'} to {other.dtype or '?'}"
    else:
        change = f"{one.dtype or '?'}, other layout"
    before = engine.producer(one.name)
    after = next(iter(engine.readers(other.name)), None)
    start = _short(before) if before else "the input"
    return f"{change}: {start} -> {_short(after) if after else 'the output'}"


def _weighted_before(engine: Engine, layer: Layer) -> Layer | None:
    """Return the layer with weights whose result a layer reads, behind reformats or not."""
    for tensor in layer.inputs:
        found = engine.producer(tensor.name)
        for _ in engine.layers:  # not for ever, should they stand in a circle
            if found is None or found.role not in {"reformat", "quantise"} or not found.inputs:
                break
            found = engine.producer(found.inputs[0].name)
        if found is not None and found.role == "weighted":
            return found
    return None


def _remarks(
    engine: Engine,
    profile: Profile,
    total: float,
    latency: float | None,
    placement: dict[str, Weighted],
    rows: list[Row],
) -> Iterator[str]:
    if profile.inferences < 10:  # noqa: PLR2004
        yield f"the profile is of {profile.inferences} inferences only: small shares are noise"
    if latency is not None:
        yield (
            f"an inference takes {latency:.4g} ms (median), its layers one by one {total:.4g} ms: "
            + ("the rest is waiting between them" if latency > total else "measuring adds to each")
        )
    named = {node for row in rows for node in row.nodes}
    if placement and not named & set(placement):
        yield "the engine names no node of the ONNX file: give the one that it was built from"
    if engine.detailed and not any(row.nodes for row in rows):
        yield "the layers do not name their ONNX nodes"


def _short(layer: Layer) -> str:
    own = [node for node in layer.nodes if operator_of(node) not in _PAIRED]
    return (own[0] if own else layer.name)[:60]
