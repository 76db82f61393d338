"""Print estimates and the tables of fleets: results on stdout, what to know of them on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.cli import console

if TYPE_CHECKING:  # pydantic, which `edgekd --help` need not wait for
    from edgekd.core.estimate import Estimate, Layer, Range
    from edgekd.core.fleet import Fleet, Row

_TOP = 10  # layers that are shown
_WIDTH = 60


def estimate(found: Estimate) -> None:
    """Print an estimated latency and the layers that take most of it."""
    mode = f"power mode {found.power_mode}" if found.power_mode else "its highest clocks"
    print(f"{found.subject}: estimate of p50: {_range(found.p50_ms)}, not measured")
    print(
        f"{found.device}, {mode}: GPU at {found.gpu_mhz:g} MHz with {found.sms} SMs, memory "
        f"{found.bandwidth_gb_s:.4g} GB/s"
    )
    print(
        f"batch {found.batch}, {found.macs / 1e6:.4g} M MACs, "
        f"{found.precision or 'precisions as in the file'}"
    )
    calibration = found.calibration
    if calibration is not None:
        error = calibration.error_ratio
        told = "unknown: one is too few" if error is None else f"up to {error:.0%} (leave-one-out)"
        print(
            f"calibrated by {calibration.measurements} measurements, factor "
            f"{calibration.factor:.3g}, error {told}"
        )
    print()
    longest = sorted(found.layers, key=lambda layer: layer.ms.high, reverse=True)
    console.table([_layer(layer) for layer in longest[:_TOP]])
    if longest[_TOP:]:
        console.note(f"and {len(longest) - _TOP} shorter layers (--json has all)")
    for remark in found.notes[1:]:
        console.note(f"note: {remark}")


def fleet(found: Fleet, out: Path) -> None:
    """Print a row for each cell, and on stderr why any failed."""
    console.table([_cell(row) for row in found.rows])
    console.note(f"records: {out}")


def _layer(layer: Layer) -> dict[str, str]:
    name = layer.name if len(layer.name) <= _WIDTH else f"{layer.name[: _WIDTH - 3]}..."
    return {
        "ms": _range(layer.ms),
        "precision": layer.precision,
        "bound": f"{layer.bound}-bound",
        "summary": name,
    }


def _cell(row: Row) -> dict[str, str]:
    again = [f"attempt {row.attempts}"] if row.attempts > 1 else []
    kept = ["done before"] if row.resumed else []
    reason = [row.reason] if row.reason else []
    return {
        "device": row.device,
        "mode": row.power_mode or "-",
        "model": Path(row.model).name if Path(row.model).stem != "model" else row.model,
        "precision": row.precision or "-",
        "batch": f"batch {row.batch}",
        "p50": _latency(row),
        "state": "estimate" if row.state == "estimated" else row.state,
        "summary": ", ".join([*again, *kept, *reason]),
    }


def _latency(row: Row) -> str:
    if row.low_ms is None or row.high_ms is None:
        return "-"
    if row.p50_ms is None:
        return f"{row.low_ms:.3g} to {row.high_ms:.3g} ms"
    return f"{row.p50_ms:.4g} ms [{row.low_ms:.4g}, {row.high_ms:.4g}]"


def _range(ms: Range) -> str:
    return f"{ms.low:.3g} to {ms.high:.3g} ms"
