"""Which steps a recipe asks for; reads the recipe alone."""

from edgekd.core.run_folder import REFERENCE
from edgekd.core.specs import Recipe, Stage


def stage_names(stages: tuple[Stage, ...]) -> list[str]:
    """Name the stages: as the recipe says, else "stage-1", "stage-2" ..."""
    return [stage.name or f"stage-{number}" for number, stage in enumerate(stages, start=1)]


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
    lines += [f"export: {target}" for target in (REFERENCE, *recipe.export.targets)]
    lines += ["evaluate: every step, on the test images", f"profile: {recipe.profile.device}"]
    return [*lines, "gate", "report"]


def describe(stage: Stage) -> str:
    """Put a stage into words."""
    terms = [f"{stage.ce:g} CE"] if stage.ce else []
    terms += [f"{use.weight:g} {use.name}" for use in stage.methods]
    what = "the classifier" if stage.trainable == "classifier" else "all layers"
    return f"{stage.epochs} epochs of {' + '.join(terms) or 'nothing'}, {what}"
