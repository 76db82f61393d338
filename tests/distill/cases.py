"""Stages that are trained by one process and by two; run by torchrun's rules as a script."""

import os
import sys
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import save_file

from edgekd.core import specs
from tests.distill import toys

FDKD = {"name": "fdkd", "options": {"layers": "all", "modes": ["channel", "spatial"]}}
ADAPTED = {"name": "feature_mse", "options": {"align": "adapter"}}
CASES: dict[str, specs.Stage] = {
    "frozen": toys.distilling(epochs=2, batch_norm="frozen"),
    "train": toys.stage(epochs=2),
    "average": toys.stage(epochs=4, batch_norm="frozen", ema=0.5),
    "cached": toys.stage(
        epochs=3, batch_norm="frozen", methods=[{"name": "kd"}], teacher="cached", views=2
    ),
    "features-alone": toys.stage(epochs=1, batch_norm="frozen", ce=0, methods=[FDKD]),
    "classifier": toys.stage(epochs=3, learning_rate=0.5, trainable="classifier"),
    "second-view": toys.stage(epochs=4, batch_norm="frozen", methods=[{"name": "ccd"}]),
    "adaptive": toys.stage(
        epochs=2, batch_norm="frozen", methods=[{"name": "adaptive_teacher"}], teacher="adaptive"
    ),
    "balanced": toys.stage(
        epochs=2,
        batch_norm="frozen",
        methods=[{"name": "logit_mse"}, ADAPTED],
        balance="gradient-norm",
    ),
}
# Batch normalisation, norms of gradients and energies of batches are not sums over images.
UNLIKE_ONE = ("train", "balanced")


def train(name: str, folder: Path) -> dict[str, object]:
    """Train a case, and return its weights and its record."""
    stage = CASES[name]
    teacher = toys.model(1) if stage.methods else None
    module, record = toys.fit(folder / name, stage, toys.model(0), teacher)
    return {"weights": dict(module.state_dict()), "record": record}


def main(folder: Path, rank: str) -> None:
    """Train all cases in a process that has joined the others already, as a run's has."""
    PartialState(cpu=True, timeout=timedelta(minutes=2))
    for name in CASES:
        found = train(name, folder)
        save_file(found["weights"], folder / f"{name}-{rank}.safetensors")
        (folder / f"{name}-{rank}.json").write_text(found["record"].model_dump_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ["RANK"])
