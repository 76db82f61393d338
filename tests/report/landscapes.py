"""Records of landscapes, written by hand."""

from datetime import UTC, datetime
from typing import Any

from edgekd.core import records
from edgekd.core.landscape import Curvature, Landscape, Passage, Terrain


def terrain(subject: str, **changes: Any) -> Terrain:
    """Return the loss around a checkpoint, 3 x 3 points."""
    curvature = Curvature(
        top_eigenvalue=12.34,
        iterations=17,
        converged=True,
        trace=567.8,
        trace_error=9.87,
        probes=20,
        sharpness=0.0456,
        rho=0.05,
    )
    values: dict[str, Any] = {
        "subject": subject,
        "model": "digits_resnet",
        "parameters": 42_938,
        "loss": 0.125,
        "line": (4.0, 0.125, 2.0),
        "plane": ((8.0, 1.0, 4.0), (4.0, 0.125, 2.0), (16.0, 1.0, 8.0)),
        "curvature": curvature,
    }
    return Terrain(**(values | changes))


def landscape(*terrains: Terrain, passages: tuple[Passage, ...] = ()) -> Landscape:
    """Return the record of some checkpoints; without any, of one."""
    shown = terrains or (terrain("deep"),)
    made = records.Provenance(
        made_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        command=("edgekd", "landscape", "deep"),
        versions={"edgekd": "0.1"},
        machine="Tiny, 1 cores, Linux",
        seed=0,
    )
    return Landscape(
        provenance=made,
        parents=tuple("abc"[place] * 64 for place in range(len(shown))),
        source="digits",
        images=2000,
        images_sha256="e" * 64,
        positions=(-1.0, 0.0, 1.0),
        terrains=shown,
        passages=passages,
    )
