"""The last rungs of a run: engines that its board has built and measured, over the test images."""

from functools import partial
from pathlib import Path

from edgekd.agent import plan as plans
from edgekd.core import files, provenance, records, run_folder, specs
from edgekd.evaluate import accuracy
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline import build, plan
from edgekd.pipeline.job import Job
from edgekd.profile.local import Subject
from edgekd.remote import inventory


def targets(recipe: specs.Recipe) -> dict[str, Target]:
    """Return the targets of the artifacts whose engines are evaluated, by the artifacts' names.

    They are those for TensorRT, if the device has it.
    """
    if inventory.usable(recipe.profile.device).device.engine != "tensorrt":
        return {}
    found = {**plan.rivals(recipe), **plan.students(recipe)}
    return {name: target for name, target in found.items() if target.runs_on[0] == "tensorrt"}


def plan_of(run: Path, name: str) -> Path:
    """Return the file of an artifact's engine; its builder's record lies beside it."""
    return run_folder.artifact(run, name) / build.PLAN


def record_of(run: Path, name: str) -> Path:
    """Return the record of an artifact's engine and of what it computes."""
    return run_folder.artifact(run, name) / "engine.json"


def files_of(run: Path, name: str) -> list[Path]:
    """Return the file of an artifact's engine, and its builder's record."""
    return _with_sidecar(plan_of(run, name))


def keep(run: Path, subject: Subject, timing: records.Timing) -> None:
    """Copy the engine whose latency is reported of an artifact into the run's folder."""
    engine = next(
        engine
        for engine, built in zip(subject.plans, timing.builds, strict=True)
        if built.p50_ms == timing.p50_ms
    )
    for source, copy in zip(_with_sidecar(engine), files_of(run, subject.name), strict=True):
        plans.write(str(copy), source.read_bytes())  # for its owner alone


def evaluate_all(job: Job, student: Model) -> None:
    """Classify the test images on the board with every engine that was kept.

    Args:
        job: whose artifacts were measured.
        student: the checkpoint that the student's were exported from.
    """
    artifacts = run_folder.read(job.folder).artifacts
    for name, target in targets(job.recipe).items():
        accurate = run_folder.accuracy(job.folder, run_folder.engine(name))
        depends = {
            "plan": files.sha256_of(plan_of(job.folder, name)),
            "artifact": artifacts[name].sha256,
            "device": job.recipe.profile.device,
            "test": job.splits.test.sha256,
            "shape": list(job.splits.test.shape),
            "train": job.splits.train.sha256,
        }
        job.do(
            f"engine {name}",
            [record_of(job.folder, name), accurate, accurate.with_suffix(".npz")],
            depends,
            partial(_evaluate, job, name, target, artifacts[name], student),
        )


def _evaluate(
    job: Job, name: str, target: Target, artifact: records.Artifact, student: Model
) -> None:
    engine, device, test = plan_of(job.folder, name), job.recipe.profile.device, job.splits.test
    model = student
    if run_folder.is_teachers(name):
        model = checkpoint.load(run_folder.checkpoint(job.folder, "teacher"))
    parity = build.compare(
        engine,
        engine.with_name(artifact.file),
        artifact,
        model,
        job.splits.train,
        tolerance=target.tolerance,
        device=device,
    )
    logits_nk = accuracy.logits_of(
        engine, test, artifact.normalisation, device=device, progress=job.progress
    )
    subject = run_folder.engine(name)
    out = run_folder.accuracy(job.folder, subject)
    accuracy.record(subject, parity.plan_sha256, device, "test", test, logits_nk, out)
    built = records.BuiltEngine(
        provenance=provenance.stamp("numpy"),
        parents=(artifact.sha256,),
        file=engine.name,
        bytes=engine.stat().st_size,
        parity=parity,
    )
    records.write(built, record_of(job.folder, name))


def _with_sidecar(engine: Path) -> list[Path]:
    return [engine, Path(plans.sidecar(str(engine)))]
