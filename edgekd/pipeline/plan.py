"""Which steps a recipe asks for; reads the recipe alone."""

from edgekd.core.run_folder import CONTROL, REFERENCE, rival
from edgekd.core.specs import Prune, Recipe, Stage
from edgekd.export.target import Target


def stage_names(stages: tuple[Stage, ...]) -> list[str]:
    """Name the stages: as the recipe says, else "stage-1", "stage-2" ..."""
    return [stage.name or f"stage-{number}" for number, stage in enumerate(stages, start=1)]


def named(stages: tuple[Stage, ...]) -> dict[str, Stage]:
    """Return the stages by their names."""
    return dict(zip(stage_names(stages), stages, strict=True))


def checkpoints(recipe: Recipe) -> list[str]:
    """Name the checkpoints of a run but for the control arm's, in their order."""
    names = ["teacher"]
    names += _cut("", recipe.student.prune) if recipe.student.prune else ["initial"]
    names += ["quantized"] if recipe.student.quantize else []
    return names + _made_by(named(recipe.stages))


def control_checkpoints(recipe: Recipe) -> list[str]:
    """Name the checkpoints of the control arm, in their order."""
    return _made_by(control_stages(recipe))


def _made_by(stages: dict[str, Stage]) -> list[str]:
    names = []
    for name, stage in stages.items():
        names += [*_cut(f"{name}-", stage.prune), name] if stage.prune else [name]
    return names


def _cut(prefix: str, prune: Prune) -> list[str]:
    return [f"{prefix}pruned", *([f"{prefix}recalibrated"] if prune.recalibrate_images else [])]


def control_stages(recipe: Recipe) -> dict[str, Stage]:
    """Return the stages that teach the same student by the labels alone; empty: not asked for.

    They are the recipe's own, with nothing in their place that a teacher has a part in.
    """
    if not recipe.control:
        return {}
    by_labels = {
        "methods": (), "ce": 1.0, "labels": True, "balance": "none", "teacher": "online",
    }  # fmt: skip
    stages = zip(stage_names(recipe.stages), recipe.stages, strict=True)
    learning = [(name, stage) for name, stage in stages if stage.learner == "student"]
    names = [f"{CONTROL}-{name}" for name, _ in learning[:-1]] + [CONTROL]
    return {
        name: stage.model_copy(update=by_labels)
        for name, (_, stage) in zip(names, learning, strict=True)
    }


def students(recipe: Recipe) -> dict[str, Target]:
    """Return the targets of the student's artifacts, by their names.

    Raises:
        UsageError: there is no such target.
    """
    found = [Target.read(name) for name in recipe.export.targets]
    return {target.name: target for target in found}


def rivals(recipe: Recipe) -> dict[str, Target]:
    """Return the targets of the teacher's artifacts beside the reference; empty: not asked for.

    Raises:
        UsageError: there is no such target.
    """
    if not recipe.export.rivals:
        return {}
    found = students(recipe).values()
    return {rival(target.name): target for target in found if target.precision != "fp32"}


def steps(recipe: Recipe) -> list[str]:
    """Describe the steps of a run, one line each."""
    teacher = recipe.teacher
    lines = [f"teacher: {teacher.model}, " + ("trained here" if teacher.train else "as it is")]
    if recipe.student.prune is not None:
        prune = recipe.student.prune
        lines.append(f"pruned: {prune.criterion}, {prune.macs:.0%} of the MACs are left")
        lines.append(f"recalibrated: BN statistics from {prune.recalibrate_images} images")
    else:
        lines.append(f"initial: {recipe.student.model or teacher.model}")
    if recipe.student.quantize is not None:
        bits = recipe.student.quantize
        lines.append(f"quantized: W{bits.weights}A{bits.activations}")
    for name, stage in {**named(recipe.stages), **control_stages(recipe)}.items():
        lines.append(f"{name}: {describe(stage)}")
    exported = (REFERENCE, *rivals(recipe), *recipe.export.targets)
    lines += [f"export: {target}" for target in exported]
    twice = ", twice" if recipe.profile.confirm else ""
    lines.append("evaluate: every step, on the test images")
    lines.append(f"profile: {recipe.profile.device}{twice}")
    return [*lines, "gate", "report"]


def describe(stage: Stage) -> str:
    """Put a stage into words."""
    terms = [f"{stage.ce:g} CE"] if stage.ce else []
    terms += [f"{use.weight:g} {use.name}" for use in stage.methods]
    what = "the classifier" if stage.trainable == "classifier" else "all layers"
    cut = "" if stage.prune is None else f"{stage.prune.macs:.0%} of the MACs are left, then "
    who = " of the teacher" if stage.learner == "teacher" else ""
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    return f"{cut}{epochs} of {' + '.join(terms) or 'nothing'}, {what}{who}"
