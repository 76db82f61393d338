"""The end of a run: test accuracy of every step, latency, ladder, verdict and report."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgekd.core import manifest, provenance, records, run_folder, statistics
from edgekd.core.examples import FILE
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.data import augment
from edgekd.evaluate import accuracy, ladder
from edgekd.models import checkpoint, score
from edgekd.pipeline import examples, gate, on_board
from edgekd.pipeline.job import Job
from edgekd.pipeline.profile import prepared
from edgekd.profile import local
from edgekd.remote import inventory
from edgekd.report import html

_SIGNIFICANT = 0.001  # a warning must not cry wolf


def evaluate_all(job: Job) -> None:
    """Classify the test images with every checkpoint and every artifact."""
    run = run_folder.read(job.folder)
    hashes = {name: found.weights_sha256 for name, found in run.checkpoints.items()}
    hashes |= {name: found.sha256 for name, found in run.artifacts.items()}
    models = {name: found.identity() for name, found in run.checkpoints.items()}
    for subject, sha256 in hashes.items():
        record = run_folder.accuracy(job.folder, subject)
        test = job.splits.test
        depends = {
            "subject": models.get(subject, sha256),
            "images": test.sha256,
            "shape": list(test.shape),
        }
        job.do(
            f"evaluate {subject}",
            [record, record.with_suffix(".npz")],
            depends,
            partial(_evaluate, job, run, subject, sha256),
        )


def measure(job: Job) -> None:
    """Measure the artifacts' latency on the recipe's device, the teacher's as the reference."""
    run = run_folder.read(job.folder)
    names = [REFERENCE, *(name for name in run.artifacts if name != REFERENCE)]
    profile = job.recipe.profile
    depends = {
        "artifacts": [run.artifacts[name].sha256 for name in names],
        "profile": profile.model_dump(mode="json"),
        "machine": provenance.machine(),
    }
    engines = on_board.targets(job.recipe)
    if run.measurement is not None and run.measurement.warnings:
        job.forget("profile")  # another time the machine may be quieter
    folder = run_folder.measurement(job.folder)

    def work() -> None:
        place = inventory.usable(profile.device)
        subjects = []
        for name in names:
            artifact = run.artifacts[name]
            path = run_folder.artifact(job.folder, name) / artifact.file
            subjects.append(prepared(name, path, artifact.sha256, place, profile, job.progress))
        images = _some_images(job, run.artifacts[REFERENCE].normalisation, profile.batch)
        measured = local.measure(subjects, profile, images, folder, job.progress)
        for subject, timing in zip(subjects, measured.timings, strict=True):
            if subject.name in engines:
                on_board.keep(job.folder, subject, timing)

    kept = [file for name in engines for file in on_board.files_of(job.folder, name)]
    job.do("profile", [folder, *kept], depends, work)


def conclude(job: Job) -> None:
    """Write ladder, verdict, report and manifest; quick, so done every time."""
    if job.workers.main:
        run = run_folder.read(job.folder)
        climbed = ladder.ladder(ladder.footholds(run))
        doubts = flattery(run.checkpoints["teacher"], run.accuracies["teacher"], job)
        climbed = climbed.model_copy(update={"doubts": doubts, "control": ladder.control(run)})
        records.write(climbed, job.folder / "ladder.json")
        keep_examples(job)
        verdict = gate.judge(job.recipe.gate, run_folder.read(job.folder))
        records.write(verdict, job.folder / "verdict.json")
        html.write(run_folder.read(job.folder), job.folder / "report.html")
        manifest.seal(job.folder, job.name, job.device, job.recipe.training.seed)
    job.workers.wait()


def keep_examples(job: Job) -> None:
    """Keep a few small test images for the report, unless there is no student to compare."""
    chosen = examples.choose(run_folder.read(job.folder), job.splits.test)
    if chosen is not None:
        records.write(chosen, job.folder / FILE)


def flattery(teacher: records.Checkpoint, test: records.Accuracy, job: Job) -> tuple[str, ...]:
    """Say so if the teacher does better on the validation images than on the test images.

    It has then probably been trained on the former, and they flatter every student of it.
    """
    top1 = teacher.validation_top1_percent
    if top1 is None:
        return ()
    images = len(job.splits.validation)
    validation = statistics.wilson(round(top1 * images / 100), images, 1 - _SIGNIFICANT)
    if 100 * validation.low <= test.top1_percent.high:
        return ()
    sentence = (
        f"the teacher has {top1:.1f} % of the validation images right, but "
        f"{test.top1_percent.value:.1f} % of the test images: it was probably trained on the "
        "former, which then flatter every student made from it. Believe the test images alone, "
        "and give a validation set that the teacher has never seen."
    )
    return (sentence,)


def _evaluate(job: Job, run: Run, subject: str, sha256: str) -> None:
    out = run_folder.accuracy(job.folder, subject)
    test = job.splits.test
    if subject in run.artifacts:
        found = run.artifacts[subject]
        file = run_folder.artifact(job.folder, subject) / found.file
        logits_nk = accuracy.logits_of(file, test, found.normalisation, progress=job.progress)
    else:
        model = checkpoint.load(run_folder.checkpoint(job.folder, subject))
        logits_nk = score.predict(
            model.module,
            test,
            model.record.normalisation,
            device=job.device,
            progress=job.progress,
            title=f"classify with {subject}",
        )
    accuracy.record(subject, sha256, "host-cpu", "test", test, logits_nk, out)


def _some_images(job: Job, normalisation: records.Normalisation, batch: int) -> NDArray[np.float32]:
    images = job.splits.test.batch(np.arange(batch) % len(job.splits.test))
    return augment.normalise(images, normalisation, "cpu").numpy()
