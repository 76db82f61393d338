"""What keeps INT8 from being faster, found in the times of an engine's layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHORT_US = 10.0  # a kernel takes 5 to 10 us to start: shorter layers are not computing
_MATTERS = 0.10  # share of time from which something is a cause
_BOUND = 0.5  # share of time in short layers from which the engine is launch-bound
FLOATS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Row:
    """A layer and its time."""

    layer: str  # in TensorRT's words
    role: str
    precision: str  # "int8", "fp16" and so on; "": not known
    ms: float
    share: float  # of all layers' time, 0 to 1
    nodes: tuple[str, ...]  # of the ONNX file
    modules: tuple[str, ...]  # of PyTorch
    note: str  # why it is float, what it lies between; "": nothing to say


@dataclass(frozen=True)
class Cause:
    """Something that keeps INT8 from being faster."""

    kind: str  # "float", "reformat", "fusion", "launch", "rest"
    share: float  # of all layers' time, 0 to 1
    finding: str
    action: str


def causes(rows: Sequence[Row]) -> list[Cause]:
    """Return what keeps INT8 from being faster, worst first; shares may overlap.

    Args:
        rows: longest first.
    """
    return sorted(_causes(rows), key=lambda cause: -cause.share)


def _causes(rows: Sequence[Row]) -> Iterator[Cause]:
    floats = [row for row in rows if row.role == "weighted" and row.precision in FLOATS]
    if floats:
        reasons = dict.fromkeys(row.note for row in floats)
        yield Cause(
            "float",
            _share(floats),
            f"{_count(floats, 'layer')} with weights in float: {'; '.join(list(reasons)[:3])}",
            "Put Q/DQ on the input and the weight of each (edgekd lint: Q013, Q014, Q021); round "
            "channels to 32 when pruning; what stays float for its accuracy is best in FP16",
        )
    moves = [row for row in rows if row.role in {"reformat", "quantise"}]
    if moves:
        yield Cause(
            "reformat",
            _share(moves),
            f"{_count(moves, 'layer')} that only convert or copy, most of all "
            f"{moves[0].note or moves[0].layer[:60]}",
            "Keep neighbours in one type: Q/DQ on both sides of each Add, one scale for all inputs "
            "of a Concat (edgekd lint: Q017 to Q020); no single INT8 layer among float ones",
        )
    lost = [row for row in rows if row.note.startswith("not fused")]
    if lost:
        yield Cause(
            "fusion",
            _share(lost),
            f"{_count(lost, 'element-wise layer')} behind a layer with weights instead of in it",
            "Put Q behind the activation or the Add, not in front of it (edgekd lint: Q015, Q016)",
        )
    short = [row for row in rows if 0 < row.ms * 1000 < SHORT_US]
    if _share(short) >= _MATTERS:
        yield Cause(
            "launch",
            _share(short),
            f"{len(short)} of {len(rows)} layers take under {SHORT_US:g} us, about as long as "
            "starting one does",
            "Replay a CUDA graph, run larger batches, or use fewer layers; narrower ones and INT8 "
            "cannot make them shorter",
        )
    rest = [row for row in rows if row.role in {"pointwise", "other"} and row not in lost]
    if _share(rest) >= _MATTERS:
        yield Cause(
            "rest",
            _share(rest),
            f"{_count(rest, 'layer')} without weights, most of all {rest[0].layer[:60]}",
            "INT8 gains little here: look for pooling, softmax and activations that can be "
            "simplified, or run them in FP16",
        )


def verdict(rows: Sequence[Row], found: Sequence[Cause]) -> str:
    """Say in a sentence or two why the engine is not faster.

    Args:
        rows: longest first.
        found: what ``causes`` returned.
    """
    weighted = [row for row in rows if row.role == "weighted"]
    integer = [row for row in weighted if row.precision == "int8"]
    int8, total = _share(integer), sum(row.ms for row in rows)
    launch = next((cause for cause in found if cause.kind == "launch"), None)
    if not integer:
        return f"INT8 is not used: none of {len(weighted)} layers with weights runs in it."
    runs = (
        f"{len(integer)} of {len(weighted)} layers with weights run in INT8, {int8:.0%} of the time"
    )
    if launch and launch.share >= _BOUND:
        return f"Starting layers takes the time, not computing them: {launch.finding}. {runs}."
    main = next((cause for cause in found if cause.share >= _MATTERS), None)
    if main is None:
        return f"INT8 does its work: {runs}, and nothing else takes {_MATTERS:.0%}."
    lost = f"{main.share:.0%} of {total:.3g} ms"
    return f"{_MAIN[main.kind]} cost most: {lost}. {runs}."


_MAIN = {
    "float": "Layers that stayed in float",
    "reformat": "Conversions and copies",
    "fusion": "Lost fusions",
    "launch": "Layers too short to gain",
    "rest": "Layers without weights",
}


def _share(rows: Sequence[Row]) -> float:
    return sum(row.share for row in rows)


def _count(rows: Sequence[Row], noun: str) -> str:
    return f"{len(rows)} {noun}{'' if len(rows) == 1 else 's'}"
