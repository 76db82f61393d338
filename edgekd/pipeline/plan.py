"""Which steps a recipe asks for; reads the recipe alone."""

from edgekd.core.run_folder import CONTROL, REFERENCE
from edgekd.core.specs import Recipe, Stage


def stage_names(stages: tuple[Stage, ...]) -> list[str]:
    """Name the stages: as the recipe says, else "stage-1", "stage-2" ..."""
    return [stage.name or f"stage-{number}" for number, stage in enumerate(stages, start=1)]


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
    for name, stage in zip(stage_names(recipe.stages), recipe.stages, strict=True):
        lines.append(f"{name}: {describe(stage)}")
    for name, stage in control_stages(recipe).items():
        lines.append(f"{name}: {describe(stage)}")
    lines += [f"export: {target}" for target in (REFERENCE, *recipe.export.targets)]
    lines += ["evaluate: every step, on the test images", f"profile: {recipe.profile.device}"]
    return [*lines, "gate", "report"]


def describe(stage: Stage) -> str:
    """Put a stage into words."""
    terms = [f"{stage.ce:g} CE"] if stage.ce else []
    terms += [f"{use.weight:g} {use.name}" for use in stage.methods]
    what = "the classifier" if stage.trainable == "classifier" else "all layers"
    return f"{stage.epochs} epochs of {' + '.join(terms) or 'nothing'}, {what}"
