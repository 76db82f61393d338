"""What a stage asks for, and whether it can be had."""

from collections.abc import Mapping, Sequence

from edgekd.core import plugins
from edgekd.core.errors import UsageError
from edgekd.core.specs import Stage
from edgekd.distill.lesson import Use
from edgekd.distill.method import Method
from edgekd.models.checkpoint import Model

METHODS = "edgekd.distill.methods"


def methods(stage: Stage) -> list[Use]:
    """Make the methods; those of weight 0 are left out, so that they cost nothing."""
    uses = []
    for use in stage.methods:
        # mypy: an abstract class is what load() looks for, not what it returns.
        method = plugins.create(METHODS, use.name, Method, dict(use.options))  # type: ignore[type-abstract]
        if use.weight > 0:
            uses.append(Use(use.name, method, use.weight))
    return uses


def check(
    name: str, stage: Stage, uses: Sequence[Use], models: Mapping[str, Model], classes: int
) -> None:
    """Refuse a stage that cannot be trained as it is described.

    Args:
        name: of the stage.
        stage: the objective.
        uses: its methods.
        models: "student" and, if there is one, "teacher".
        classes: of the images.

    Raises:
        UsageError: says what does not fit.
    """
    check_stage(name, stage, uses)
    if uses and "teacher" not in models:
        raise UsageError(f"stage '{name}' distils, but there is no teacher")
    for role, model in models.items():
        if model.record.classes != classes:
            raise UsageError(
                f"the {role} has {model.record.classes} classes, but the images have {classes}"
            )


def check_stage(name: str, stage: Stage, uses: Sequence[Use]) -> None:
    """Refuse what a stage and its methods do not agree on; no network is needed for that.

    Raises:
        UsageError: says what does not fit.
    """
    if not uses and stage.ce == 0:
        raise UsageError(
            f"stage '{name}' has nothing to learn from: give it methods, or ce above 0"
        )
    if not stage.labels and not uses:
        raise UsageError(f"stage '{name}' says labels = false, and has no methods")
    if stage.balance != "none" and not uses:
        raise UsageError(f"stage '{name}': there are no methods to balance")
    _check_methods(name, stage, uses)


def _check_methods(name: str, stage: Stage, uses: Sequence[Use]) -> None:
    """Refuse what a method and its stage do not agree on."""
    for use in uses:
        method, place = use.method, f"stage '{name}': method '{use.name}'"
        if method.adapts_teacher and stage.teacher != "adaptive":
            raise UsageError(
                f'{place} trains the teacher, too: say teacher = "adaptive", found '
                f'"{stage.teacher}"'
            )
        if stage.teacher == "cached" and not method.works_cached:
            raise UsageError(
                f"{place} needs more than the teacher's logits, which are all that is cached. Use "
                'teacher = "online"'
            )
        if stage.trainable == "classifier" and method.needs_features and method.perturbs == "no":
            raise UsageError(
                f'{place} compares features, which trainable = "classifier" leaves as they are. '
                "Use method 'kd' there"
            )
        if method.needs_labels and not stage.labels:
            raise UsageError(f"{place} reads labels, but the stage says labels = false")
    if stage.teacher == "adaptive" and not any(use.method.adapts_teacher for use in uses):
        raise UsageError(
            f"stage '{name}': nothing tells an adaptive teacher what to learn. Use method "
            '"adaptive_teacher", or teacher = "online"'
        )


def check_alignment(uses: Sequence[Use], student: str, teacher: str) -> None:
    """Refuse to compare channel by channel what are different architectures."""
    for use in uses:
        if use.method.align == "index":
            raise UsageError(
                f"'{use.name}' compares channel by channel, so student and teacher must be one "
                f"architecture, but are '{student}' and '{teacher}'. Use method 'kd', or one that "
                'needs no such match: at, sp, fa, fdkd with modes = ["spatial"], feature_mse or '
                'attention_feature with align = "adapter"'
            )


def second_view(name: str, uses: Sequence[Use]) -> float | None:
    """Return how likely each strong operation of the second view is; None: there is none."""
    wanted = {use.method.second_view for use in uses if use.method.second_view is not None}
    if len(wanted) > 1:
        raise UsageError(
            f"stage '{name}': the methods ask for different second views, with probabilities "
            f"{sorted(wanted)}; they must agree, for there is one"
        )
    return wanted.pop() if wanted else None
