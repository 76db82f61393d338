"""A recipe's names are looked up before anything is trained."""

from pathlib import Path

import pytest

from edgekd.core import specs
from edgekd.core.errors import DeviceError, ExportError, UsageError
from edgekd.pipeline import preflight
from edgekd.pipeline.plan import control_checkpoints, control_stages, rivals, stage_names, steps


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.1.teacher=cached", "method 'fdkd' needs more than the teacher's logits"),
        ("student.quantize={weights=4}", "no target takes a student of 4 bits"),
        ("stages.1.methods=[{name='fdkdd'}]", "Did you mean 'fdkd'"),
        ("stages.1.methods=[{name='kd',options={temprature=2}}]", "Did you mean 'temperature'"),
        ("stages.1.methods=[{name='kd',options={temperature=-1}}]", "temperature must be > 0"),
        ("teacher.model=digits_resnett", "Did you mean 'digits_resnet'"),
        ("student.prune.criterion=l3", "no criterion is called 'l3'"),
        ("export.calibrator=entropie", "Did you mean 'entropy'"),
        ("export.targets=['onnx-fp23']", "Did you mean 'onnx-fp32'"),
        ("export.platform=jp6.1", "no platform is called 'jp6.1'"),
        ("export={platform='jp6.2',targets=['onnx-fp32']}", "none is exported: add one"),
        ("profile.device=host-gpu", "Did you mean 'host-cpu'"),
        ("stages.1.name=pruned", "'pruned' names two steps"),
        ("stages.1.name=../../etc", "it would be a path"),
        ("stages.1.name=control-deep", "'control-deep' is kept for the control arm"),
        ("gate={latency_ratio={limit=1.0,informative=true}}", "no rule of the"),
        ("gate.size_ratio.artifacts=['onnx-fp16']", "not exported"),
    ],
)
def test_a_wrong_name_is_found_before_training(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        preflight.check(specs.load("digits", [override]))


def test_what_a_platform_cannot_run_is_found_before_training() -> None:
    override = "export={platform='jp4.6',targets=['tensorrt-int8']}"
    with pytest.raises(ExportError, match="compute no INT8"):
        preflight.check(specs.load("digits", [override]))


def test_a_gpu_that_is_not_there_is_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(DeviceError, match="torch sees 0 CUDA devices"):
        preflight.check(specs.load("digits", ["training.device=cuda"]))


def test_the_demo_passes() -> None:
    preflight.check(specs.load("digits"))


def test_the_cifar_recipe_lacks_only_the_weights() -> None:
    with pytest.raises(UsageError, match=r"no file 'cifar_resnet56.safetensors'"):
        preflight.check(specs.load("cifar10-resnet56"))


def test_a_control_needs_a_stage_that_distils() -> None:
    nothing = [f"stages.{place}.methods=[]" for place in (0, 1)]
    with pytest.raises(UsageError, match=r"control = true compares .* but no stage distils"):
        preflight.check(specs.load("digits", ["control=true", *nothing]))
    preflight.check(specs.load("digits", ["control=true"]))


def test_the_control_arm_has_the_same_stages_without_a_teacher() -> None:
    recipe = specs.load("digits", ["control=true", "stages.0.label_smoothing=0.1"])
    arm = control_stages(recipe)
    assert list(arm) == ["control-classifier", "control"]
    for stage, mine in zip(recipe.stages, arm.values(), strict=True):
        assert (mine.methods, mine.ce, mine.teacher) == ((), 1.0, "online")
        taught = ("methods", "ce")
        assert mine.model_copy(update={key: getattr(stage, key) for key in taught}) == stage


def test_rivals_are_the_teacher_at_the_lower_precisions_of_the_recipe() -> None:
    targets = "export.targets=['onnx-fp32','onnx-int8','tensorrt-fp16']"
    recipe = specs.load("digits", [targets, "export.rivals=true"])
    assert list(rivals(recipe)) == ["teacher-onnx-int8", "teacher-tensorrt-fp16"]
    assert [line for line in steps(recipe) if "teacher-" in line] == [
        "export: teacher-onnx-fp32", "export: teacher-onnx-int8", "export: teacher-tensorrt-fp16",
    ]  # fmt: skip
    assert rivals(specs.load("digits", [targets])) == {}


def test_a_rule_may_name_a_rival_if_there_is_one() -> None:
    about = "gate.size_ratio.artifacts=['teacher-onnx-int8']"
    preflight.check(specs.load("digits", [about, "export.rivals=true"]))
    with pytest.raises(UsageError, match="'teacher-onnx-int8', but that is not exported"):
        preflight.check(specs.load("digits", [about]))


def test_a_target_cannot_pass_for_the_teacher(tmp_path: Path) -> None:
    mine = tmp_path / "teacher-mine.toml"
    mine.write_text('precision = "fp32"\nopset = 18\ntolerance = 0.01\n')
    with pytest.raises(UsageError, match="'teacher-mine' is kept for what the teacher"):
        preflight.check(specs.load("digits", [f"export.targets=['{mine}']"]))


def test_without_control_there_is_no_arm() -> None:
    assert control_stages(specs.load("digits")) == {}
    assert not any(line.startswith("control") for line in steps(specs.load("digits")))


def test_the_control_arm_is_cut_where_the_student_is() -> None:
    recipe = specs.load("digits", ["control=true", "stages.0.prune={macs=0.5}"])
    assert control_checkpoints(recipe) == [
        "control-classifier-pruned", "control-classifier-recalibrated", "control-classifier",
        "control",
    ]  # fmt: skip


def test_the_plan_shows_the_control_arm() -> None:
    lines = steps(specs.load("digits", ["control=true"]))
    assert "control: 30 epochs of 1 CE, all layers" in lines


def test_stages_without_a_name_are_numbered() -> None:
    recipe = specs.load("digits")
    nameless = tuple(stage.model_copy(update={"name": None}) for stage in recipe.stages)
    assert stage_names(nameless) == ["stage-1", "stage-2"]


def test_the_plan_of_another_architecture_prunes_nothing() -> None:
    tree = specs.load("digits").model_dump()
    tree["student"] = {"model": "digits_resnet"}
    lines = steps(specs.parse(tree, "other"))
    assert not any(line.startswith("pruned") for line in lines)
    assert any(line.startswith("initial: digits_resnet") for line in lines)
