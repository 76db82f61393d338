"""What ``edgekd landscape`` writes: the loss around checkpoints, on the same images for all.

Losses are cross-entropies in nats, averaged over the images.
"""

from typing import Self

from pydantic import Field, model_validator

from edgekd.core.records import Part, Record


class Curvature(Part):
    """How the loss bends at a checkpoint, with respect to all its trained parameters."""

    top_eigenvalue: float  # of the Hessian; the largest in magnitude
    iterations: int  # of the power iteration
    converged: bool  # False: it was stopped before it settled
    trace: float  # of the Hessian, estimated
    trace_error: float  # standard error of the estimate
    probes: int  # random vectors that the estimate rests on
    sharpness: float  # the loss after a step uphill of length ``rho``, minus the loss
    rho: float


class Terrain(Part):
    """The loss around one checkpoint."""

    subject: str  # the end of its path
    model: str
    parameters: int
    loss: float
    line: tuple[float, ...]  # along the first direction
    plane: tuple[tuple[float, ...], ...] | None  # [second][first direction]; None: not asked for
    curvature: Curvature


class Passage(Part):
    """The loss along the straight line between two checkpoints of equal shapes."""

    start: str
    end: str
    losses: tuple[float, ...]  # evenly spaced, both ends included
    barrier: float  # the most by which they exceed the straight line between the ends; >= 0


class Landscape(Record):
    """The loss around checkpoints and between them."""

    source: str  # of the training images
    images: int
    images_sha256: str
    positions: tuple[float, ...] = Field(min_length=3)  # of the lines and planes; 0 is the middle
    terrains: tuple[Terrain, ...] = Field(min_length=1)
    passages: tuple[Passage, ...] = ()

    @model_validator(mode="after")
    def _arrays_fit(self) -> Self:
        points = len(self.positions)
        for terrain in self.terrains:
            sides = {len(row) for row in (terrain.line, *(terrain.plane or ()))}
            if terrain.plane is not None:
                sides.add(len(terrain.plane))
            if sides != {points}:
                raise ValueError(f"'{terrain.subject}' does not have {points} points on each side")
        return self
