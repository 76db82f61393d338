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
import shutil
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
from edgekd.core.errors import UsageError
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
_WITHIN = 0.05  # of an epoch


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
        train_images=6_400,
        epochs=4,
        rates=(0.003, 0.01, 0.03, 0.1),
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
            *("attention-feature", "attention-crop", "bilateral", "hybrid"),
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
        for student in part.students:
            for stage in (trials, finals, finals_in_time):
                todo = [
                    found
                    for found in stage(arguments, part, student)
                    if not found.path(arguments.work).exists()
                ]
                futures = [pool.submit(run, found, arguments, deadline) for found in todo]
                for number, future in enumerate(futures, start=1):
                    print(f"{number}/{len(futures)} {future.result()}", flush=True)
    write(arguments, part)


def trials(arguments: argparse.Namespace, part: Part, student: str) -> Iterator[Job]:
    """Yield the runs that choose the learning rates."""
    for arm in arms_of(part, student):
        for rate in part.rates:
            yield Job(arguments.part, student, arm, rate, part.seeds[0], part.epochs, judged=False)


def arms_of(part: Part, student: str) -> list[str]:
    """Return the arms that can serve a student: channel by channel needs one architecture."""
    return [arm for arm in part.arms if arm not in refused(part, student)]


def refused(part: Part, student: str) -> dict[str, str]:
    """Return the arms that cannot serve a student, and why."""
    why = {"attention-crop": "needs 64 pixels", "hybrid": "cuts on its way"}
    if student.endswith(("from resnet56", "narrow")):
        why |= dict.fromkeys(("vft", "feature-mse", "attention-feature"), "needs one architecture")
    return {arm: reason for arm, reason in why.items() if arm in part.arms}


def best_rate(arguments: argparse.Namespace, part: Part, student: str, arm: str) -> float | None:
    """Return the learning rate that the validation images choose; None: not all were tried."""
    scores = {}
    for tried in trials(arguments, part, student):
        if tried.arm == arm:
            found = read(tried, arguments.work)
            if found is None:
                return None
            scores[tried.rate] = found["validation_percent"]
    return max(scores, key=lambda rate: scores[rate])


def finals(
    arguments: argparse.Namespace, part: Part, student: str, *, equal_time: bool = False
) -> Iterator[Job]:
    """Yield the runs that read the test images."""
    for arm in arms_of(part, student):
        rate = best_rate(arguments, part, student, arm)
        epochs = fitting(arguments, part, student, arm) if equal_time else part.epochs
        if rate is not None and epochs is not None:
            for seed in part.seeds:
                yield Job(arguments.part, student, arm, rate, seed, epochs, judged=True)


def finals_in_time(arguments: argparse.Namespace, part: Part, student: str) -> Iterator[Job]:
    """Yield the same, with as many epochs as fit into the time of cross-entropy."""
    return finals(arguments, part, student, equal_time=True)


def fitting(arguments: argparse.Namespace, part: Part, student: str, arm: str) -> int | None:
    """Return how many epochs of an arm fit into the time of cross-entropy's; None: too few."""
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
    epochs = math.floor(part.epochs * seconds[PLAIN] / seconds[arm] + _WITHIN)
    return epochs if epochs >= len(recipe_files.tree(recipe_of(arm, student))["stages"]) else None


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


def recipe_of(arm: str, student: str) -> str:
    """Return the name of an arm's recipe."""
    if arm == "vft":
        return "vft-quantized" if " W" in student else "vft-pruned"
    return arm


def stages_of(arm: str, student: str, epochs: int, rate: float) -> list[specs.Stage]:
    """Return a recipe's stages, whose epochs add up to the budget: one each, the rest to the last.

    The learning rate is that of the backbone, which a recipe may slow down.
    """
    written = recipe_files.tree(recipe_of(arm, student))["stages"]
    wanted = [stage["epochs"] for stage in written]
    given = [max(1, math.floor(epochs * share / sum(wanted))) for share in wanted]
    given[-1] = epochs - sum(given[:-1])
    stages = []
    for stage, count in zip(written, given, strict=True):
        changes: dict[str, Any] = {"epochs": count}
        if stage.get("trainable") != "classifier":
            changes["learning_rate"] = rate / stage.get("backbone_rate", 1.0)
        if stage.get("teacher") == "cached":
            # As many views as epochs would cost as much as a teacher that is asked at every step.
            changes["views"] = max(1, min(count // 2, stage["views"]))
        stages.append(specs.Stage.model_validate(stage | changes))
    return stages


def run(wanted: Job, arguments: argparse.Namespace, deadline: float) -> str:
    """Train, choose the epoch on the validation images, and write the result."""
    torch.set_num_threads(arguments.threads)
    part = PARTS[wanted.part]
    if time.monotonic() > deadline:
        return f"{wanted}: not run, the time is up"
    splits = load(arguments.data, part.train_images)
    place = wanted.path(arguments.work)
    tried = replace(wanted, judged=False).path(arguments.work)
    if wanted.judged and tried.exists():
        seconds = json.loads(tried.read_text())["seconds"]
        student = checkpoint.load(tried.with_suffix("") / "student")
    else:
        try:
            student, seconds = train(wanted, arguments, splits)
        except UsageError as error:
            return f"{place.stem}: not run, {error}"
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


def train(wanted: Job, arguments: argparse.Namespace, splits: Splits) -> tuple[Model, float]:
    """Return the student after all stages, and the seconds that they took."""
    teacher = checkpoint.load(arguments.work / "teachers" / teacher_of(wanted.student))
    student = checkpoint.load(folder_of(arguments.work, wanted.student))
    training = specs.Training(device=arguments.device, seed=wanted.seed, compile=arguments.compile)
    seconds = 0.0
    folder = wanted.path(arguments.work).with_suffix("")
    stages = stages_of(wanted.arm, wanted.student, wanted.epochs, wanted.rate)
    for number, stage in enumerate(stages):
        learner, peer = (teacher, student) if stage.learner == "teacher" else (student, teacher)
        module, record = fit(
            learner,
            peer if stage.methods else None,
            stage,
            splits,
            training,
            folder / str(number),
        )
        # The quickest epoch is the one that other work on the machine disturbed least.
        quickest = min(epoch.train_seconds for epoch in record.epochs)
        seconds += record.cache_seconds + quickest * len(record.epochs)
        if stage.learner == "teacher":
            teacher = replace(teacher, module=module)
        else:
            student = replace(student, module=module)
        shutil.rmtree(folder / str(number))
    if not wanted.judged:
        checkpoint.save(folder / "student", student.module, student.record, student.surgery)
    return student, seconds


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
        start_n = correct(model, splits.test, arguments.device)
        tables[student] = {
            "teacher_percent": 100 * float(correct(teacher, splits.test, arguments.device).mean()),
            "macs": checkpoint.count(model.module, model.record.input_shape)[1],
            "equal epochs": arms_table(arguments, part, student, start_n, equal_time=False),
            "equal wall time": arms_table(arguments, part, student, start_n, equal_time=True),
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
    arguments: argparse.Namespace, part: Part, student: str, start_n: Any, *, equal_time: bool
) -> dict[str, Any]:
    """Return what is known of every arm; None: not run, a sentence: why it cannot be."""
    found: dict[str, Any] = dict(refused(part, student))
    images = len(start_n)
    wanted = list(finals(arguments, part, student, equal_time=equal_time))
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
        elif arm == PLAIN:
            started = {"test_percent": [100 * float(start_n.mean())], "seconds": 0.0}
            started |= {"gain_pp": gain(start_n[None].astype(float), rights[PLAIN])}
            found = {RECALIBRATED: started | {"epochs": 0, "learning_rate": None}} | found
    return found


def gain(arm_sn: Any, plain_sn: Any) -> list[float]:
    """Return arm minus plain in pp, low, high: over images and seeds [S, N], paired."""
    difference_sn = 100 * (arm_sn - plain_sn)
    over_images = difference_sn.mean(axis=0).var(ddof=1) / difference_sn.shape[1]
    over_seeds = difference_sn.mean(axis=1).var(ddof=1) / len(difference_sn)
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
            f"Teacher {table['teacher_percent']:.2f} %; student {table['macs'] / 1e6:.1f} M MACs. "
            "s: of training steps, reckoned from the quickest epoch, and of the cached teacher."
        )
        for budget in ("equal epochs", "equal wall time"):
            lines += ["", f"| {budget} | gain over plain, pp [95 %] | top-1 % of the seeds |"]
            lines[-1] += " learning rate | epochs | s |"
            lines.append("| --- | --- | --- | --- | --- | --- |")
            lines += [row(arm, found, part) for arm, found in table[budget].items()]
    return "\n".join(lines) + "\n"


def row(arm: str, found: dict[str, Any] | str | None, part: Part) -> str:
    if found is None or isinstance(found, str):
        return f"| {arm} | not run{f': {found}' if found else ''} | | | | |"
    gained = "-"
    if "gain_pp" in found:
        middle, low, high = found["gain_pp"]
        gained = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
    seeds = ", ".join(f"{value:.2f}" for value in sorted(found["test_percent"]))
    rate = found["learning_rate"]
    shown = "-" if rate is None else f"{rate:g}"
    if rate in {part.rates[0], part.rates[-1]}:
        shown += " (end of the grid)"
    return f"| {arm} | {gained} | {seeds} | {shown} | {found['epochs']} | {found['seconds']:.0f} |"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--part", choices=sorted(PARTS), default="cpu")
    parser.add_argument("--jobs", type=int, help="at a time; cpu: 2, gpu: 1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", choices=("auto", "off", "on"), help="cpu: off, gpu: auto")
    arguments = parser.parse_args()
    on_cpu = arguments.part == "cpu"
    arguments.jobs = arguments.jobs or (2 if on_cpu else 1)
    arguments.compile = arguments.compile or ("off" if on_cpu else "auto")
    return arguments


if __name__ == "__main__":
    main()
