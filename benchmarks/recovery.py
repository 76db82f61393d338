"""What each way of fine-tuning recovers, against the labels alone, at one budget.

    python benchmarks/recovery.py DIR --work WORK [--part cpu|gpu] [--jobs 2] [--minutes 60]

DIR holds CIFAR-10, JPEG q75 re-encoded, with its validation file (see README of the data folder
beside the project). For every student all arms start from the same weights. An arm's learning rate
is the best of a grid on the validation images, for plain cross-entropy too; then all seeds are run
with it, and only these read the test images, once. Tables: equal epochs, and equal wall time, where
each arm has as many epochs as fit into the time that cross-entropy took.

Every finished run is a file in WORK, so an interrupted benchmark goes on where it stopped; what was
not run is printed as such. Writes benchmarks/results/recovery-PART.{json,md}.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekd.core import files, provenance, recipe_files, specs
from edgekd.data import sources
from edgekd.data.sources import Splits
from edgekd.distill import trainer
from edgekd.models import checkpoint, score
from edgekd.models.checkpoint import Model
from edgekd.prune import channels
from edgekd.quantize import qat

SHARED = Path(__file__).parents[2] / "shared" / "data" / "weights"
RESULTS = Path(__file__).parent / "results"
RECALIBRATED = "recalibrated"  # no training at all
PLAIN = "plain"
CONFIDENT = 1.96  # standard errors


@dataclass(frozen=True)
class Part:
    """What is run where."""

    students: tuple[str, ...]
    arms: tuple[str, ...]  # names of recipes
    train_images: int | None
    epochs: int
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    teacher_epochs: int


CPU_ARMS = (PLAIN, "kd", "vft", "two-stage", "kdft", "faqd")
PARTS = {
    "cpu": Part(
        students=("resnet20 50 %", "resnet20 W4A4"),
        arms=CPU_ARMS,
        train_images=10_000,
        epochs=5,
        rates=(0.003, 0.01, 0.03),
        seeds=(0, 1, 2),
        teacher_epochs=3,
    ),
    "gpu": Part(
        students=(
            *("resnet56 50 %", "resnet56 25 %", "resnet56 W8A8", "resnet56 W4A4", "resnet56 W2A2"),
            *("resnet20 from resnet56", "vgg16 narrow"),
        ),
        arms=(
            *CPU_ARMS,
            *("dkd", "at", "sp", "rkd", "feature-mse", "adaptive-teacher", "ccd", "triplet"),
            *("boundary", "smoothed-teacher", "entropy-weight", "cross-layer"),
            *("attention-feature", "bilateral"),
        ),
        train_images=None,
        epochs=30,
        rates=(0.003, 0.01, 0.03, 0.1),
        seeds=(0, 1, 2),
        teacher_epochs=10,
    ),
}
TEACHERS = {"resnet20": "cifar10_resnet20", "resnet56": "cifar10jpeg_resnet56"}


@dataclass(frozen=True)
class Job:
    """One run."""

    part: str
    student: str
    arm: str
    rate: float
    seed: int
    epochs: int
    judged: bool  # on the test images

    def path(self, work: Path) -> Path:
        """Return the file of its result."""
        words = [self.student, self.arm, f"{self.rate:g}", f"seed{self.seed}", f"{self.epochs}ep"]
        words += ["test"] if self.judged else []
        return work / self.part / ("-".join(words).replace(" ", "") + ".json")


def main() -> None:
    arguments = parse()
    part = PARTS[arguments.part]
    deadline = time.monotonic() + 60 * arguments.minutes
    prepare(arguments, part)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        first = part.seeds[0]
        for stage in (
            lambda: (job(arguments.part, s, a, r, first, part.epochs) for s, a, r in grid(part)),
            lambda: finals(arguments, part, equal_time=False),
            lambda: finals(arguments, part, equal_time=True),
        ):
            todo = [found for found in stage() if not found.path(arguments.work).exists()]
            futures = [pool.submit(run, found, arguments, deadline) for found in todo]
            for number, future in enumerate(futures, start=1):
                print(f"{number}/{len(futures)} {future.result()}", flush=True)
    write(arguments, part)


def job(part: str, student: str, arm: str, rate: float, seed: int, epochs: int) -> Job:
    return Job(part, student, arm, rate, seed, epochs, judged=False)


def grid(part: Part) -> Iterator[tuple[str, str, float]]:
    for student in part.students:
        for arm in arms_of(part, student):
            yield from ((student, arm, rate) for rate in part.rates)


def arms_of(part: Part, student: str) -> list[str]:
    """Return the arms that can serve a student: channel by channel needs one architecture."""
    same = not student.endswith(("from resnet56", "narrow"))
    return [arm for arm in part.arms if same or arm not in {"vft", "feature-mse"}]


def best_rate(arguments: argparse.Namespace, part: Part, student: str, arm: str) -> float | None:
    """Return the learning rate that the validation images choose; None: not all were tried."""
    scores = {}
    for rate in part.rates:
        found = read(
            job(arguments.part, student, arm, rate, part.seeds[0], part.epochs), arguments.work
        )
        if found is None:
            return None
        scores[rate] = found["validation_percent"]
    return max(scores, key=lambda rate: scores[rate])


def finals(arguments: argparse.Namespace, part: Part, *, equal_time: bool) -> Iterator[Job]:
    """Yield the runs that read the test images."""
    for student in part.students:
        for arm in arms_of(part, student):
            rate = best_rate(arguments, part, student, arm)
            epochs = fitting(arguments, part, student, arm) if equal_time else part.epochs
            if rate is not None and epochs is not None:
                for seed in part.seeds:
                    yield Job(arguments.part, student, arm, rate, seed, epochs, judged=True)


def fitting(arguments: argparse.Namespace, part: Part, student: str, arm: str) -> int | None:
    """Return how many epochs of an arm take as long as all of cross-entropy's."""
    seconds = {}
    for name in (PLAIN, arm):
        rate = best_rate(arguments, part, student, name)
        if rate is None:
            return None
        runs = [
            read(
                Job(arguments.part, student, name, rate, s, part.epochs, judged=True),
                arguments.work,
            )
            for s in part.seeds
        ]
        if None in runs:
            return None
        seconds[name] = float(np.median([found["seconds"] for found in runs if found]))
    return max(1, round(part.epochs * seconds[PLAIN] / seconds[arm]))


def prepare(arguments: argparse.Namespace, part: Part) -> None:
    """Make the teachers and all students once, as checkpoints in WORK."""
    splits = load(arguments.data, None)
    training = specs.Training(device=arguments.device, seed=0)
    for name in sorted({teacher_of(student) for student in part.students}):
        folder = arguments.work / "teachers" / name
        if (folder / "checkpoint.json").exists():
            continue
        weights = SHARED / f"{TEACHERS[name]}.safetensors"
        model = checkpoint.open_model(
            f"cifar_{name}", weights=weights, class_names=splits.class_names
        )
        if "jpeg" not in TEACHERS[name]:  # trained on other pixels: adapt it first
            stage = specs.Stage(epochs=part.teacher_epochs, learning_rate=0.02)
            module, _ = fit(model, None, stage, splits, training, folder / "unfinished")
            model = replace(model, module=module)
        checkpoint.save(folder, model.module, model.record, model.surgery)
    for student in part.students:
        folder = folder_of(arguments.work, student)
        if not (folder / "checkpoint.json").exists():
            make_student(student, arguments, splits, folder)


def teacher_of(student: str) -> str:
    return "resnet20" if student.startswith("resnet20 ") and "from" not in student else "resnet56"


def folder_of(work: Path, student: str) -> Path:
    return work / "students" / student.replace(" ", "").replace("%", "")


def make_student(student: str, arguments: argparse.Namespace, splits: Splits, folder: Path) -> None:
    """Cut or quantise a copy of the teacher, with fresh statistics; or build another network."""
    model = checkpoint.load(arguments.work / "teachers" / teacher_of(student))
    module, normalisation, surgery = deepcopy(model.module), model.record.normalisation, None
    record = model.record
    kind = student.partition(" ")[2]
    if kind.endswith("%"):
        spec = specs.Prune(
            criterion="l2", spread="uniform", scope="interior", macs=int(kind[:-2]) / 100
        )
        surgery = channels.prune(module, record.input_shape, spec, surgery_so_far=model.surgery)
    elif kind.startswith("W"):
        bits = [int(digits) for digits in kind[1:].split("A")]
        wanted = specs.Quantize(weights=bits[0], activations=bits[1])  # type: ignore[arg-type]
        images = qat.batches(splits.train, normalisation, 512, 0, "cpu")
        qat.quantise(module, wanted, images, classes=record.classes)
    else:
        name = "cifar_vgg16_narrow" if "vgg" in student else "cifar_resnet20"
        torch.manual_seed(0)
        other = checkpoint.open_model(name, class_names=splits.class_names)
        module, surgery, record = other.module, other.surgery, other.record
    if kind.endswith("%") or kind.startswith("W"):
        score.recalibrate(module, splits.train, normalisation, count=4096, seed=0)
    checkpoint.save(folder, module, record, surgery or model.surgery)


def stages_of(arm: str, student: str, epochs: int, rate: float) -> list[specs.Stage]:
    """Return a recipe's stages, whose epochs add up to the budget."""
    if arm == "vft":
        arm = "vft-quantized" if " W" in student else "vft-pruned"
    written = recipe_files.tree(arm)["stages"]
    wanted = [stage["epochs"] for stage in written]
    given = [max(1, math.floor(epochs * share / sum(wanted))) for share in wanted]
    given[-1] += epochs - sum(given)
    if given[-1] < 1:
        given = [0] * (len(given) - 1) + [epochs]
    stages = []
    for stage, count in zip(written, given, strict=True):
        changes: dict[str, Any] = {"epochs": count}
        if stage.get("trainable") != "classifier":
            changes["learning_rate"] = rate
        if stage.get("teacher") == "cached":
            changes["views"] = min(count, stage["views"]) or 1
        stages.append(specs.Stage.model_validate(stage | changes))
    return [stage for stage in stages if stage.epochs]


def run(wanted: Job, arguments: argparse.Namespace, deadline: float) -> str:
    """Train, choose the epoch on the validation images, and write the result."""
    torch.set_num_threads(arguments.threads)
    part = PARTS[wanted.part]
    if time.monotonic() > deadline:
        return f"{wanted}: not run, the time is up"
    splits = load(arguments.data, part.train_images)
    teacher = checkpoint.load(arguments.work / "teachers" / teacher_of(wanted.student))
    student = checkpoint.load(folder_of(arguments.work, wanted.student))
    training = specs.Training(device=arguments.device, seed=wanted.seed, compile=arguments.compile)
    seconds = 0.0
    place = wanted.path(arguments.work)
    for number, stage in enumerate(
        stages_of(wanted.arm, wanted.student, wanted.epochs, wanted.rate)
    ):
        learner, peer = (teacher, student) if stage.learner == "teacher" else (student, teacher)
        folder = place.with_suffix("") / str(number)
        module, record = fit(
            learner, peer if stage.methods else None, stage, splits, training, folder
        )
        seconds += record.cache_seconds + sum(epoch.train_seconds for epoch in record.epochs)
        if stage.learner == "teacher":
            teacher = replace(teacher, module=module)
        else:
            student = replace(student, module=module)
    right = correct(student, splits.validation, arguments.device)
    result = asdict(wanted) | {
        "seconds": seconds,
        "validation_percent": 100 * float(right.mean()),
    }
    if wanted.judged:
        rows = correct(student, splits.test, arguments.device)
        result |= {"test_percent": 100 * float(rows.mean()), "right": np.packbits(rows).tolist()}
    files.write_text(place, json.dumps(result) + "\n")
    return f"{place.stem}: validation {result['validation_percent']:.2f} %, {seconds:.0f} s"


def fit(
    student: Model,
    teacher: Model | None,
    stage: specs.Stage,
    splits: Splits,
    training: specs.Training,
    folder: Path,
) -> tuple[torch.nn.Module, Any]:
    data = specs.Data(source="cifar10:.", augment="crop-flip", batch_size=128)
    folder.mkdir(parents=True, exist_ok=True)
    return trainer.fit(student, teacher, stage, splits, data, training, folder=folder, name="stage")


def correct(model: Model, images: sources.ImageSet, device: str) -> Any:
    logits_nk = score.predict(
        deepcopy(model.module), images, model.record.normalisation, device=device
    )
    return logits_nk.argmax(axis=1) == images.labels_n


def load(folder: Path, train_images: int | None) -> Splits:
    return sources.load(specs.Data(source=f"cifar10:{folder}", train_images=train_images), seed=0)


def read(wanted: Job, work: Path) -> dict[str, Any] | None:
    path = wanted.path(work)
    return json.loads(path.read_text()) if path.exists() else None


def write(arguments: argparse.Namespace, part: Part) -> None:
    """Put everything that was run into a table and a file."""
    splits = load(arguments.data, None)
    images = len(splits.test)
    tables: dict[str, Any] = {}
    for student in part.students:
        model = checkpoint.load(folder_of(arguments.work, student))
        teacher = checkpoint.load(arguments.work / "teachers" / teacher_of(student))
        tables[student] = {
            "teacher_percent": 100 * float(correct(teacher, splits.test, "cpu").mean()),
            RECALIBRATED: 100 * float(correct(model, splits.test, "cpu").mean()),
            "macs": model.record.macs,
            "equal epochs": arms_table(arguments, part, student, images, equal_time=False),
            "equal wall time": arms_table(arguments, part, student, images, equal_time=True),
        }
    stamp = provenance.stamp("torch")
    content = {
        "part": arguments.part,
        "setting": {k: v for k, v in asdict(part).items() if k not in {"students", "arms"}},
        "machine": stamp.machine,
        "versions": stamp.versions,
        "test_images": images,
        "students": tables,
    }
    RESULTS.mkdir(exist_ok=True)
    files.write_text(
        RESULTS / f"recovery-{arguments.part}.json", json.dumps(content, indent=1) + "\n"
    )
    text = markdown(content, part)
    files.write_text(RESULTS / f"recovery-{arguments.part}.md", text)
    print(text)


def arms_table(
    arguments: argparse.Namespace, part: Part, student: str, images: int, *, equal_time: bool
) -> dict[str, Any]:
    found = {}
    wanted = list(finals(arguments, part, equal_time=equal_time))
    rights: dict[str, Any] = {}
    for arm in arms_of(part, student):
        mine = [job for job in wanted if (job.student, job.arm) == (student, arm)]
        runs = [run for job in mine if (run := read(job, arguments.work))]
        if not runs or len(runs) < len(part.seeds):
            found[arm] = None
            continue
        rights[arm] = np.array(
            [np.unpackbits(np.array(run["right"], np.uint8))[:images] for run in runs], float
        )
        found[arm] = {
            "learning_rate": runs[0]["rate"],
            "epochs": runs[0]["epochs"],
            "seconds": float(np.median([run["seconds"] for run in runs])),
            "test_percent": [run["test_percent"] for run in runs],
        }
        if arm != PLAIN and PLAIN in rights:
            found[arm]["gain_pp"] = gain(rights[arm], rights[PLAIN])
    return found


def gain(arm_sn: Any, plain_sn: Any) -> list[float]:
    """Return arm minus plain in pp, low, high: over images and seeds [S, N], paired."""
    difference_sn = 100 * (arm_sn - plain_sn)
    over_images = difference_sn.mean(axis=0).var(ddof=1) / difference_sn.shape[1]
    over_seeds = difference_sn.mean(axis=1).var(ddof=1) / difference_sn.shape[0]
    middle = float(difference_sn.mean())
    wide = CONFIDENT * math.sqrt(over_images + over_seeds)
    return [middle, middle - wide, middle + wide]


def markdown(content: dict[str, Any], part: Part) -> str:
    lines = [
        (
            f"CIFAR-10, JPEG q75 re-encoded, not comparable with published figures. {part.epochs} "
            f"epochs of {part.train_images or 'all'} training images, {len(part.seeds)} seeds, "
            f"{content['test_images']} test images; {content['machine']}. Learning rates were "
            f"chosen on the validation images from {', '.join(f'{r:g}' for r in part.rates)}, for "
            "each arm. Intervals (95 %) are over images and seeds, paired with plain fine-tuning."
        ),
    ]
    for student, table in content["students"].items():
        lines += ["", f"### {student}", ""]
        lines.append(
            f"Teacher {table['teacher_percent']:.2f} %; student before any training, with fresh BN "
            f"statistics, {table[RECALIBRATED]:.2f} %."
        )
        for budget in ("equal epochs", "equal wall time"):
            lines += ["", f"| {budget} | gain over plain, pp [95 %] | top-1 % of the seeds |"]
            lines[-1] += " learning rate | epochs | s |"
            lines.append("| --- | --- | --- | --- | --- | --- |")
            lines += [row(arm, found) for arm, found in table[budget].items()]
    return "\n".join(lines) + "\n"


def row(arm: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return f"| {arm} | not run | | | | |"
    gained = "-"
    if "gain_pp" in found:
        middle, low, high = found["gain_pp"]
        gained = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
    seeds = ", ".join(f"{value:.2f}" for value in sorted(found["test_percent"]))
    return (
        f"| {arm} | {gained} | {seeds} | {found['learning_rate']:g} | {found['epochs']} | "
        f"{found['seconds']:.0f} |"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=sorted(PARTS), default="cpu")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", choices=("auto", "off", "on"), default="off")
    return parser.parse_args()


if __name__ == "__main__":
    main()
