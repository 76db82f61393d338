"""How fast a step of training is, against a loop written by hand, a PIL loader and torchdistill.

All train the same networks from the same weights with CE + KD, and take turns of a few steps in one
process, in an order that is drawn anew for each round; a ratio is taken within a round. edgekd's
step is the very one of ``edgekd.distill.trainer.fit``. The loop by hand is plain and tight: batches
that lie ready in memory as float32 NCHW (no loading, no augmentation), no clipping of gradients.

    python benchmarks/finetune_throughput.py resnet20 [--threads 1] [--rounds 9] [--steps 6]
    python benchmarks/finetune_throughput.py pruned56 [--threads 2]
    PYTHONPATH=DIR python benchmarks/finetune_throughput.py resnet20      with torchdistill, after
                                           pip install --no-deps --target DIR torchdistill

Wall time is what is compared; the processor time of the process stands beside it, because other
work on the machine disturbs it less.
"""

import argparse
import importlib.util
import itertools
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader

from edgekd.core import provenance, records, specs
from edgekd.core.progress import Silent
from edgekd.data.images import Stored, image_set
from edgekd.data.sources import Splits
from edgekd.distill import hardware, optim, session
from edgekd.distill.method import Step
from edgekd.distill.processes import Processes
from edgekd.models import checkpoint
from edgekd.models.build import build, defaults
from edgekd.models.checkpoint import Model
from edgekd.models.surgery import Surgery
from edgekd.prune import channels

CLASSES = 10
SHAPE = (3, 32, 32)
TEMPERATURE = 4.0
RESULTS = Path(__file__).parent / "results"
PHASES = {
    "teach": "teacher",
    "look": "student forward",
    "terms": "losses",
    "differentiate": "backward",
    "descend": "optimiser",
}


@dataclass(frozen=True)
class Pair:
    """A teacher, a student, and what is to be reached against the loop by hand."""

    student: str
    macs: float | None  # share that is left after pruning; None: not pruned
    batch: int
    online: float
    cached: float


PAIRS = {
    "resnet20": Pair("cifar_resnet20", None, 64, online=1.5, cached=2.5),
    "pruned56": Pair("cifar_resnet56", 0.5, 128, online=1.25, cached=1.8),
}
DATA_SHARE = 0.03  # at most, of the step
CACHED_OVER_CE = 1.05  # at most


@dataclass
class Loop:
    """Something that trains: ``step`` does one, and what it measured."""

    name: str
    step: Callable[[], object]
    prepare_s: float = 0.0  # first steps, with compilation
    cache_s: float = 0.0
    wall_s: list[float] = field(default_factory=list)  # of each round
    cpu_s: list[float] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def models(pair: Pair) -> tuple[Model, Model]:
    """Return student and teacher with random weights: speed does not depend on them."""
    torch.manual_seed(0)
    teacher = build("cifar_resnet56", CLASSES)
    student, surgery = build(pair.student, CLASSES), Surgery.none()
    if pair.macs is not None:
        student = deepcopy(teacher)
        spec = specs.Prune(macs=pair.macs, scope="interior", round_to=8)
        surgery = channels.prune(student, SHAPE, spec)
    return as_model(student, pair.student, surgery), as_model(teacher, "cifar_resnet56")


def as_model(module: nn.Module, name: str, surgery: Surgery | None = None) -> Model:
    parameters, macs = checkpoint.count(module, SHAPE)
    record = records.Checkpoint(
        provenance=provenance.stamp(),
        stage="initial",
        model=name,
        classes=CLASSES,
        class_names=tuple(map(str, range(CLASSES))),
        input_shape=SHAPE,
        normalisation=defaults(name).normalisation,
        weights_sha256=name,
        parameters=parameters,
        macs=macs,
    )
    return Model(module, record, surgery or Surgery.none())


def images(count: int) -> Splits:
    generator = np.random.default_rng(0)
    pixels = generator.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
    labels_n = generator.integers(CLASSES, size=count)
    found = image_set(Stored(pixels), labels_n, map(str, range(CLASSES)), "noise")
    return Splits(found, found, found, found.class_names, "noise")


def edgekd(name: str, changes: dict[str, object], pair: Pair, folder: Path, compiled: str) -> Loop:
    """Make edgekd's own step ready, and clocks around its phases."""
    student, teacher = models(pair)
    fields = {"epochs": 10**6, "learning_rate": 0.01, "views": 1, **changes}
    stage = specs.Stage.model_validate(fields)
    data = specs.Data(source="noise", augment="crop-flip", batch_size=pair.batch)
    training = specs.Training(device="cpu", compile=compiled)
    task = session.Task(student, teacher, stage, images(2048), data, training, folder / name, name)
    start = time.perf_counter()
    running = session.start(task, Processes("cpu"), Silent())
    schedule = optim.Schedule(stage, running.batches.steps)
    loop = Loop(name, lambda: None, cache_s=running.cache_seconds, notes=running.notes)
    lesson: Any = running.lesson
    for method, phase in PHASES.items():
        setattr(lesson, method, clocked(loop, phase, getattr(lesson, method)))
    stream = itertools.chain.from_iterable(
        running.batches.epoch(epoch, running.view(epoch)) for epoch in itertools.count()
    )
    upcoming = clocked(loop, "data", stream.__next__)
    step = Step(0, 1, torch.Generator())
    sums: dict[str, Tensor] = {}

    def once() -> None:
        for term, value in running.lesson(upcoming(), step, schedule.rate(10**6)).items():
            sums[term] = sums.get(term, 0) + value

    loop.step = once
    loop.prepare_s = time.perf_counter() - start - running.cache_seconds
    return loop


def clocked(loop: Loop, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        result = function(*args)
        loop.phases_s[phase] = loop.phases_s.get(phase, 0.0) + time.perf_counter() - start
        return result

    return timed


def by_hand(name: str, pair: Pair, batches: Iterator[tuple[Tensor, Tensor]]) -> Loop:
    """Return the plain loop that one would write without edgekd."""
    student, teacher = (model.module for model in models(pair))
    student.train()
    teacher.eval().requires_grad_(requires_grad=False)
    optimiser = torch.optim.SGD(
        student.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def step() -> None:
        images_nchw, labels_n = next(batches)
        with torch.no_grad():
            target_nk = teacher(images_nchw)
        logits_nk = student(images_nchw)
        kl = F.kl_div(
            F.log_softmax(logits_nk / TEMPERATURE, 1),
            F.log_softmax(target_nk / TEMPERATURE, 1),
            reduction="batchmean",
            log_target=True,
        )
        loss = F.cross_entropy(logits_nk, labels_n) + TEMPERATURE**2 * kl
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return Loop(name, step)


def ready(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches that lie in memory."""
    generator = torch.Generator().manual_seed(0)
    found = [
        (
            torch.randn(pair.batch, *SHAPE, generator=generator),
            torch.randint(CLASSES, (pair.batch,), generator=generator),
        )
        for _ in range(4)
    ]
    return itertools.cycle(found)


def from_pil(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches as most scripts do: array -> PIL -> crop, flip, tensor, normalise."""
    from PIL import Image
    from torchvision import transforms

    known = images(2048).train
    normalisation = defaults("cifar_resnet56").normalisation
    change = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(normalisation.mean, normalisation.std),
        ]
    )

    class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return len(known)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            pixels_hwc = known.batch(np.array([index]))[0]
            return change(Image.fromarray(pixels_hwc)), int(known.labels_n[index])

    loader = DataLoader(Pictures(), pair.batch, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(loader for _ in itertools.count())


def torchdistill(pair: Pair) -> Loop:
    """Return torchdistill's own forward and backward, on batches that lie ready in memory."""
    from torchdistill.core.distillation import DistillationBox

    student, teacher = (model.module for model in models(pair))
    path = {f"{role}_module_path": "." for role in ("student", "teacher")}
    kind = {f"{role}_module_io": "output" for role in ("student", "teacher")}
    # Its alpha weighs the cross-entropy; alpha = beta = 1 is the objective of the other loops.
    kd = {"temperature": TEMPERATURE, "alpha": 1.0, "beta": 1.0, "reduction": "batchmean"}
    term = {"criterion": {"key": "KDLoss", "kwargs": {**path, **kind, **kd}}, "weight": 1.0}
    sgd = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    part = {"forward_proc": "forward_batch_only"}
    config = {
        "num_epochs": 1,
        "teacher": {**part, "requires_grad": False},
        "student": part,
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": term}}},
        "optimizer": {"key": "SGD", "kwargs": sgd},
    }
    teacher.eval()  # it leaves a teacher as it was handed over
    box = DistillationBox(teacher, student, {}, config, torch.device("cpu"), None, False, 1)
    box.pre_epoch_process(epoch=0)
    batches = ready(pair)

    def step() -> None:
        images_nchw, labels_n = next(batches)
        box.post_forward_process(box.forward_process(images_nchw, labels_n, None))

    return Loop("torchdistill", step)


def make_loops(pair: Pair, folder: Path, compiled: str) -> list[Loop]:
    kd = {"methods": [{"name": "kd", "options": {"temperature": TEMPERATURE}}]}
    loops = [
        by_hand("by hand", pair, ready(pair)),
        by_hand("PIL loader", pair, from_pil(pair)),
        edgekd("edgekd online", kd, pair, folder, compiled),
        edgekd("edgekd cached", {**kd, "teacher": "cached"}, pair, folder, compiled),
        edgekd("edgekd CE only", {}, pair, folder, compiled),
    ]
    if compiled == "on":
        loops.append(edgekd("edgekd online, not compiled", kd, pair, folder, "off"))
    if importlib.util.find_spec("torchdistill") is None:
        print("torchdistill: left out, for it is not installed (see the head of this script)")
    else:
        logging.disable(logging.INFO)
        loops.append(torchdistill(pair))
    return loops


def measure(loops: list[Loop], rounds: int, steps: int) -> None:
    """Let the loops take turns."""
    order = random.Random(0)
    for loop in loops:
        start = time.perf_counter()
        for _ in range(3):
            loop.step()
        loop.prepare_s += time.perf_counter() - start
        loop.phases_s.clear()
    for number in range(rounds):
        for loop in order.sample(loops, len(loops)):
            loop.step()  # what the others left in the caches does not count
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(steps):
                loop.step()
            loop.cpu_s.append(time.process_time() - cpu)
            loop.wall_s.append(time.perf_counter() - wall)
        print(f"round {number + 1} of {rounds}", flush=True)


def summary(loops: list[Loop], pair: Pair, steps: int) -> list[dict[str, Any]]:
    first = loops[0]
    rows = []
    for loop in loops:
        ratios = [a / b for a, b in zip(first.wall_s, loop.wall_s, strict=True)]
        cpu_ratios = [a / b for a, b in zip(first.cpu_s, loop.cpu_s, strict=True)]
        total = sum(loop.phases_s.values())
        rows.append(
            {
                "loop": loop.name,
                "images_per_s": pair.batch * steps / statistics.median(loop.wall_s),
                "step_ms": 1e3 * statistics.median(loop.wall_s) / steps,
                "step_cpu_ms": 1e3 * statistics.median(loop.cpu_s) / steps,
                "speed_ratio": spread(ratios),
                "speed_ratio_cpu": spread(cpu_ratios),
                "phase_ratios": {name: value / total for name, value in loop.phases_s.items()},
                "first_steps_s": loop.prepare_s,
                "cache_s": loop.cache_s,
                "rounds_wall_s": loop.wall_s,
                "rounds_cpu_s": loop.cpu_s,
                "notes": loop.notes,
            }
        )
    return rows


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def goals(loops: list[Loop], rows: list[dict[str, Any]], pair: Pair) -> list[dict[str, Any]]:
    """Say which goals are met: by wall time, and by processor time."""
    row = {found["loop"]: found for found in rows}
    by_name = {loop.name: loop for loop in loops}
    pairs = (by_name["edgekd cached"], by_name["edgekd CE only"])
    over_ce = {
        "wall": [a / b for a, b in zip(*(loop.wall_s for loop in pairs), strict=True)],
        "cpu": [a / b for a, b in zip(*(loop.cpu_s for loop in pairs), strict=True)],
    }
    found = []
    for clock, key in (("wall", "speed_ratio"), ("cpu", "speed_ratio_cpu")):
        online, cached = (row[f"edgekd {kind}"][key]["median"] for kind in ("online", "cached"))
        cost = statistics.median(over_ce[clock])
        found += [
            goal(f"online over by hand, {clock}", online, pair.online, online >= pair.online),
            goal(f"cached over by hand, {clock}", cached, pair.cached, cached >= pair.cached),
            goal(f"cached step over CE-only step, {clock}", cost, CACHED_OVER_CE, cost <= 1.05),
        ]
    for kind in ("online", "cached", "CE only"):
        share = row[f"edgekd {kind}"]["phase_ratios"]["data"]
        found.append(goal(f"data share, {kind}", share, DATA_SHARE, share < DATA_SHARE))
    return found


def goal(name: str, measured: float, limit: float, met: bool) -> dict[str, Any]:  # noqa: FBT001
    return {"goal": name, "measured": measured, "limit": limit, "met": met}


def table(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> str:
    head = f"{'loop':<28}{'images/s':>9}{'step ms':>9}{'x by hand (low-high)':>24}"
    lines = [f"{head}{'x, CPU time':>13}{'first steps s':>15}{'cache s':>9}"]
    for row in rows:
        ratio = row["speed_ratio"]
        range_ = f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"
        lines.append(
            f"{row['loop']:<28}{row['images_per_s']:>9.0f}{row['step_ms']:>9.0f}{range_:>24}"
            f"{row['speed_ratio_cpu']['median']:>13.2f}{row['first_steps_s']:>15.1f}"
            f"{row['cache_s']:>9.1f}"
        )
    lines.append("")
    for row in rows:
        if row["phase_ratios"]:
            parts = "  ".join(f"{n} {100 * v:.1f} %" for n, v in row["phase_ratios"].items())
            lines.append(f"{row['loop']:<28}{parts}")
    lines.append("")
    for item in found:
        state = "met   " if item["met"] else "MISSED"
        lines.append(f"{state} {item['goal']:<40}{item['measured']:>8.3f}   {item['limit']:g}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=6, help="of each loop in a round")
    parser.add_argument("--compile", choices=("on", "off"), default="on", help="off: to try it out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pair = PAIRS[arguments.pair]
    with tempfile.TemporaryDirectory() as folder:
        training = specs.Training(device="cpu")
        with hardware.reproducible(training, torch.device("cpu")):
            loops = make_loops(pair, Path(folder), arguments.compile)
            measure(loops, arguments.rounds, arguments.steps)
    rows = summary(loops, pair, arguments.steps)
    found = goals(loops, rows, pair)
    text = table(rows, found)
    print(text)
    content = {
        "provenance": provenance.stamp("torch").model_dump(mode="json"),
        "pair": arguments.pair,
        "batch": pair.batch,
        "threads": arguments.threads,
        "compile": arguments.compile,
        "rounds": arguments.rounds,
        "steps": arguments.steps,
        "loops": rows,
        "goals": found,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = arguments.out / f"finetune_throughput-{arguments.pair}"
    name.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    name.with_suffix(".txt").write_text(text)


if __name__ == "__main__":
    main()
