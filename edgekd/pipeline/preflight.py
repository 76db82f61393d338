"""Find what is wrong with a recipe before hours of training, not after them."""

from pathlib import Path

from edgekd.core import run_folder, specs
from edgekd.core.errors import UsageError, did_you_mean
from edgekd.core.run_folder import REFERENCE, is_control
from edgekd.distill import demands, hardware
from edgekd.export.target import Target
from edgekd.models import build
from edgekd.pipeline import artifacts, lookup, on_board, plan, quantized


def check(recipe: specs.Recipe) -> None:
    """Look up every name that the recipe gives.

    Raises:
        UsageError: there is no such method, option, model, criterion, calibrator, target, platform
            or device; no target is for the platform; two steps have one name; no rule decides; a
            rule is about what is not exported; or there is nothing that a control could be
            compared with.
        DeviceError: there is no such GPU.
        ExportError: the platform does not run a target.
    """
    lookup.check(recipe)
    check_stages(recipe)
    _control_makes_sense(recipe)
    if recipe.student.quantize is not None:
        quantized.int8_of(recipe.student.quantize)
    found = [Target.read(name) for name in recipe.export.targets]
    shaped = [artifacts.platform_of(recipe.export, target) for target in found]
    if recipe.export.platform is not None and not any(shaped):
        raise UsageError(
            f"export.platform = '{recipe.export.platform}' shapes targets for TensorRT, and none "
            "is exported: add one, such as tensorrt-fp16, or leave platform out"
        )
    targets, rivals = [target.name for target in found], list(plan.rivals(recipe))
    _are_the_students(targets)
    _targets_take(recipe)
    engines = [run_folder.engine(name) for name in on_board.targets(recipe)]
    _unique([REFERENCE, *plan.checkpoints(recipe), *targets, *rivals, *engines])
    _rules_are_about(recipe.gate, [*targets, *rivals])


def check_stages(recipe: specs.Recipe) -> None:
    """Look up what training needs: device, models, weights, methods and names of stages.

    Raises:
        UsageError: there is no such model, file, method or option; two stages have one name.
        DeviceError: there is no such GPU.
    """
    hardware.device_of(recipe.training.device)
    for role, part in (("teacher", recipe.teacher), ("student", recipe.student)):
        if part.model is not None and not Path(part.model).is_dir():
            build.defaults(part.model)
        if part.weights is not None and not part.weights.is_file():
            raise UsageError(
                f"there is no file '{part.weights}' with the {role}'s weights: see {role}.weights"
            )
    for name, stage in plan.named(recipe.stages).items():
        demands.check_stage(name, stage, demands.methods(stage))
    _unique(plan.checkpoints(recipe))


def _unique(steps: list[str]) -> None:
    for name in steps:
        if steps.count(name) > 1:
            raise UsageError(f"'{name}' names two steps of the run: give the stage another name")
        if is_control(name):
            raise UsageError(
                f"'{name}' is kept for the control arm: give the stage a name that does not begin "
                "with 'control'"
            )
        if name.startswith(".") or "/" in name or "\\" in name:
            raise UsageError(f"'{name}' cannot name a step: it would be a path")


def _targets_take(recipe: specs.Recipe) -> None:
    bits = recipe.student.quantize
    least = 8 if bits is None else min(bits.weights, bits.activations)
    if least < 8 and recipe.export.targets:  # noqa: PLR2004  bits of a byte
        raise UsageError(
            f"no target takes a student of {least} bits, which is for study: set export.targets = "
            "[], or quantise to 8 bits"
        )


def _are_the_students(targets: list[str]) -> None:
    """Refuse a name by which the student would be taken for the teacher, whom no rule is about."""
    for name in targets:
        if run_folder.is_teachers(name):
            raise UsageError(
                f"'{name}' is kept for what the teacher is exported to: give the target's file a "
                "name that does not begin with 'teacher-'"
            )


def _control_makes_sense(recipe: specs.Recipe) -> None:
    if not recipe.control:
        return
    taught = [stage for stage in recipe.stages if stage.learner == "student"]
    if not any(use.weight > 0 for stage in taught for use in stage.methods):
        raise UsageError(
            "control = true compares distilling with the labels alone, but no stage distils: give "
            "one a method, or leave control out"
        )


def _rules_are_about(gate: specs.Gate, targets: list[str]) -> None:
    rules = {key: getattr(gate, key) for key in type(gate).model_fields}
    given = {key: rule for key, rule in rules.items() if rule is not None}
    if all(rule.informative for rule in given.values()):
        raise UsageError(
            "no rule of the [gate] decides: give one that is not informative, such as "
            "top1_drop_pp = { margin = 1.0 }"
        )
    for key, rule in given.items():
        for name in rule.artifacts or ():
            if name not in targets:
                raise UsageError(
                    f"gate.{key} is about '{name}', but that is not exported."
                    f"{did_you_mean(name, targets)}"
                )
