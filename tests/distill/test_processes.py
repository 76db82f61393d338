import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.core.records import Training
from edgekd.distill import optim
from edgekd.distill.batches import Batches
from edgekd.distill.processes import Processes
from edgekd.distill.state import FILE
from tests.distill import cases, toys

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all cases in two processes, as torchrun would start them."""
    folder = tmp_path_factory.mktemp("together")
    common = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.distill.cases", str(folder)]
    errors = folder / "errors.txt"
    with errors.open("w") as stream:
        children = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
                stderr=stream,
            )
            for rank in ("0", "1")
        ]
        try:
            statuses = [child.wait(timeout=600) for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
    assert statuses == [0, 0], errors.read_text()
    return folder


def weights(folder: Path, name: str, rank: int = 0) -> dict[str, Tensor]:
    return load_file(folder / f"{name}-{rank}.safetensors")


def close(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> bool:
    return all(torch.allclose(one[n].double(), other[n].double(), atol=tolerance) for n in one)


@pytest.mark.parametrize("name", cases.CASES)
def test_all_processes_return_the_same_network(together: Path, name: str) -> None:
    one, other = (weights(together, name, rank) for rank in (0, 1))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", [name for name in cases.CASES if name not in cases.UNLIKE_ONE])
def test_two_processes_train_like_one_where_statistics_are_frozen(
    together: Path, tmp_path: Path, name: str
) -> None:
    alone = cases.train(name, tmp_path)
    assert close(weights(together, name), alone["weights"], 1e-5)
    record = Training.model_validate_json((together / f"{name}-0.json").read_text())
    assert record.best_epoch == alone["record"].best_epoch > 0
    for one, other in zip(record.epochs, alone["record"].epochs, strict=True):
        assert one.terms == pytest.approx(other.terms, rel=1e-4, abs=1e-6)
        assert one.validation_top1_percent == other.validation_top1_percent


def test_two_processes_train_like_one_that_normalises_each_half_batch_apart(
    together: Path,
) -> None:
    stage = cases.CASES["train"]
    module = toys.network(0).train()
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    batches = Batches(
        toys.splits().train, toys.NORMALISATION, toys.DATA, toys.TRAINING.seed, Processes("cpu")
    )
    optimiser = optim.make(module, "linear", stage)
    schedule = optim.Schedule(stage, batches.steps)
    best, best_correct = {}, -1
    for epoch in range(stage.epochs):
        halves = [statistics(norms), statistics(norms)]  # each half goes on from its own
        for number, batch in enumerate(batches.epoch(epoch, epoch)):
            optimiser.zero_grad()
            for half in range(2):
                part = slice(8 * half, 8 * half + 8)
                restore(norms, halves[half])
                logits_nk = module(batch.images_nchw[part])
                halves[half] = statistics(norms)
                (functional.cross_entropy(logits_nk, batch.labels_n[part]) / 2).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), stage.clip_norm)
            optim.set_rate(optimiser, schedule.rate(epoch * batches.steps + number))
            optimiser.step()
        restore(norms, [(a + b) / 2 for a, b in zip(*halves, strict=True)])
        correct = toys.correct(module)
        if correct >= best_correct:
            best_correct = correct
            best = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = weights(together, "train")
    counters = [name for name in found if name.endswith("num_batches_tracked")]
    for name in counters:  # this loop has gone through each layer twice as often
        del found[name], best[name]
    assert close(found, best, 1e-5)


def statistics(norms: list[_BatchNorm]) -> list[Tensor]:
    return [t.clone() for norm in norms for t in (norm.running_mean, norm.running_var)]


def restore(norms: list[_BatchNorm], values: list[Tensor]) -> None:
    places = [t for norm in norms for t in (norm.running_mean, norm.running_var)]
    for place, value in zip(places, values, strict=True):
        place.copy_(value)


def test_only_one_state_is_written(together: Path) -> None:
    for name in cases.CASES:
        assert (together / name / FILE).exists()
        extra = {path.name for path in (together / name).iterdir()} - {FILE}
        assert extra <= {"teacher-logits.npy", "teacher-logits.json"}


def test_one_process_needs_no_group() -> None:
    alone = Processes("cpu")
    assert (alone.count, alone.rank, alone.main) == (1, 0, True)
    assert not torch.distributed.is_initialized()
    module = toys.network()
    assert alone.wrap(module) is module
    assert alone.agree(1.5) == 1.5
