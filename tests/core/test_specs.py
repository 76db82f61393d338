from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgekd.core import catalogue, recipe_files, rules, specs
from edgekd.core.errors import UsageError


def tree(**changes: Any) -> dict[str, Any]:
    return {"teacher": {"model": "m", "weights": "w.pt"}, "data": {"source": "digits"}} | changes


def faults(changes: dict[str, Any]) -> list[str]:
    """Parse a recipe with some changes and return the lines of the message."""
    with pytest.raises(UsageError) as caught:
        specs.parse(tree(**changes), "mine")
    first, *lines = str(caught.value).splitlines()
    assert first == "recipe 'mine' cannot be used:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize("name", catalogue.names("recipes"))
def test_every_built_in_recipe_can_be_used(name: str) -> None:
    found = recipe_files.tree(name)
    # Recipes of stages alone take teacher and images from `edgekd finetune`.
    found.setdefault("teacher", {"model": "cifar_resnet20", "weights": "teacher.safetensors"})
    found["data"].setdefault("source", "digits")
    found["gate"] = {"size_ratio": {"limit": 1}}
    assert specs.parse(found, name).description


def test_a_recipe_of_stages_alone_says_what_it_is_for() -> None:
    with pytest.raises(UsageError, match="`edgekd finetune STUDENT --teacher TEACHER --recipe kd`"):
        specs.load("kd")


def test_a_recipe_of_stages_alone_runs_once_teacher_and_images_are_named() -> None:
    said = ["teacher.model=cifar_resnet20", "teacher.weights=t.safetensors", "data.source=digits"]
    assert specs.load("kd", said).teacher.model == "cifar_resnet20"


def test_an_unknown_key_is_answered_with_its_place_and_a_near_one() -> None:
    (line,) = faults({"student": {"prune": {"critrion": "l1"}}})
    assert line.startswith("student.prune.critrion: unknown key. Did you mean 'criterion'?")
    assert "It takes: criterion, keep, macs" in line


def test_an_unknown_key_deep_in_arrays_is_answered_too() -> None:
    stage = {"epochs": 1, "learning_rate": 0.1, "methods": [{"name": "kd", "wieght": 2}]}
    (line,) = faults({"stages": [stage]})
    assert line == (
        "stages.0.methods.0.wieght: unknown key. Did you mean 'weight'? "
        "It takes: name, options, weight."
    )


def test_every_fault_is_listed() -> None:
    lines = faults({"stages": [{"epochs": -1}], "profile": {"batch": 0}, "x": 1})
    assert [line.partition(":")[0] for line in lines] == [
        "stages.0.epochs",
        "stages.0.learning_rate",
        "profile.batch",
        "x",
    ]
    assert "missing" in lines[1]
    assert lines[2].endswith("found 0")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("student.prune.macs", 0.0),
        ("student.prune.macs", 1.01),
        ("student.prune.max_ratio", 1.5),
        ("stages.0.learning_rate", 0.0),
        ("stages.0.learning_rate", float("inf")),
        ("stages.0.ce", -0.1),
        ("stages.0.ce", float("nan")),
        ("stages.0.label_smoothing", 1.0),
        ("stages.0.ema", 1.0),
        ("stages.0.optimiser", "adam"),
        ("data.validation_ratio", 0.0),
        ("data.validation_ratio", 1.0),
        ("data.train_images", 0),
        ("data.augment", "flip"),
        ("training.seed", -1),
        ("training.seed", 2**31),
        ("training.seed", "one"),
        ("profile.threads", 1.5),
        ("gate.top1_drop_pp", {"margin": 0.0}),
        ("gate.top1_drop_pp", {"margin": 1.0, "confidence": 0.5}),
        ("gate.latency_ratio", {"limit": float("nan")}),
        ("teacher.expected_top1_percent", 101.0),
    ],
)
def test_a_value_outside_its_range_is_named(place: str, value: object) -> None:
    whole = tree(
        student={"prune": {}}, stages=[{"epochs": 1, "learning_rate": 0.1}], training={},
        profile={}, gate={},
    )  # fmt: skip
    *steps, last = place.split(".")
    node: Any = whole
    for step in steps:
        node = node[int(step)] if step.isdigit() else node[step]
    node[last] = value
    with pytest.raises(UsageError, match=rf"  {place}"):
        specs.parse(whole, "mine")


def test_limits_that_are_allowed_are_taken() -> None:
    stage = {"epochs": 0, "learning_rate": 1e-9, "ce": 0, "warmup_epochs": 0}
    found = specs.parse(tree(stages=[stage], student={"prune": {"macs": 1}}), "mine")
    assert found.student.prune is not None
    assert (found.stages[0].epochs, found.student.prune.macs) == (0, 1.0)


def test_a_teacher_with_random_weights_must_be_trained() -> None:
    (line,) = faults({"teacher": {"model": "cifar_resnet20"}})
    assert line.startswith("the teacher has random weights: give teacher.weights")
    (line,) = faults({"teacher": {"model": "torchvision:resnet18"}})
    assert "random weights" in line
    trained = {"model": "cifar_resnet20", "train": {"epochs": 1, "learning_rate": 0.1}}
    assert specs.parse(tree(teacher=trained), "mine").teacher.weights is None


def test_a_factory_and_a_checkpoint_bring_their_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "checkpoint.json").touch()
    for model in ("my.nets:build", "runs/one/checkpoints/teacher", "kept"):
        assert specs.parse(tree(teacher={"model": model}), "mine").teacher.model == model


def test_a_section_of_another_form_is_named_with_what_was_found() -> None:
    assert faults({"data": 3}) == [
        "data: Input should be a valid dictionary or instance of Data, found 3"
    ]


def test_a_recipe_cannot_be_changed() -> None:
    found = specs.parse(tree(), "mine")
    with pytest.raises(ValidationError, match=r"frozen"):
        found.description = "other"  # type: ignore[misc]


def test_overrides_are_applied_in_their_order() -> None:
    found = specs.load("digits", ["training.seed=1", "stages.1.epochs=2", "training.seed=7"])
    assert found.training.seed == 7
    assert found.stages[1].epochs == 2
    assert found.stages[0].epochs == specs.load("digits").stages[0].epochs


def test_an_override_is_checked_like_the_recipe() -> None:
    with pytest.raises(UsageError, match=r"training\.sede: unknown key. Did you mean 'seed'"):
        specs.load("digits", ["training.sede=1"])


RECIPE = """
teacher = {{ model = "m", weights = "{weights}" }}
student = {{ model = "s", weights = "s.pt" }}
data = {{ source = "{source}" }}
"""


@pytest.mark.parametrize(
    ("source", "anchored"),
    [
        ("cifar10:images", "cifar10:{0}/images"),
        ("folder:../images", "folder:{0}/../images"),
        ("pack:/data/x.npz", "pack:/data/x.npz"),
        ("digits", "digits"),
        ("my.data:build", "my.data:build"),
    ],
)
def test_relative_paths_start_at_the_recipe_and_others_stay(
    tmp_path: Path, source: str, anchored: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.format(weights="w.pt", source=source))
    found = specs.load(str(path))
    assert found.teacher.weights == tmp_path / "w.pt"
    assert found.student.weights == tmp_path / "s.pt"
    assert found.data.source == anchored.format(tmp_path)


def test_paths_in_overrides_start_at_the_working_directory(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.format(weights="/abs/w.pt", source="digits"))
    found = specs.load(str(path), ["teacher.weights=here.pt", "data.source=folder:there"])
    assert found.teacher.weights == Path("here.pt")
    assert found.data.source == "folder:there"
    assert specs.load(str(path)).teacher.weights == Path("/abs/w.pt")


def test_a_recipe_written_as_json_reads_back_the_same() -> None:
    found = specs.load("digits")
    assert specs.Recipe.model_validate_json(found.model_dump_json()) == found


def test_rules_are_read_from_toml_and_from_a_runs_json(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text("[gate]\nsize_ratio = { limit = 0.5 }\n")
    gate = specs.gate_of(tmp_path / "rules.toml")
    assert gate.size_ratio == rules.LimitRule(limit=0.5)
    assert gate.top1_drop_pp is None
    (tmp_path / "recipe.json").write_text('{"teacher": 1, "gate": {"size_ratio": {"limit": 0.5}}}')
    assert specs.gate_of(tmp_path / "recipe.json") == gate


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rules.toml", "[gates]\n", r"has no \[gate\] table"),
        ("rules.json", "[1]", r"has no \[gate\] table"),
        ("rules.json", "{", "cannot be read as a recipe"),
        ("rules.toml", "[gate]\nsize_ratio = { limt = 0.5 }\n", "Did you mean 'limit'"),
        ("rules.toml", "[gate]\nsize_rato = 1\n", "size_rato: unknown key. Did you mean"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        specs.gate_of(tmp_path / name)


def test_missing_rules_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json' cannot be read"):
        specs.gate_of(tmp_path / "none.json")
    with pytest.raises(UsageError, match=r"there is no recipe file '.*none\.toml'"):
        specs.gate_of(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("latency_baseline_ratio", "needs a baseline, which a run has not"),
        ("energy_per_image_mj", "needs profile.energy = true"),
    ],
)
def test_rule_that_no_run_of_this_recipe_could_judge_is_refused(rule: str, said: str) -> None:
    tree = {
        "teacher": {"model": "digits_resnet", "train": {"epochs": 1, "learning_rate": 0.1}},
        "data": {"source": "digits"},
        "gate": {rule: {"limit": 1}},
    }
    with pytest.raises(UsageError, match=said):
        specs.parse(tree, "mine")
    specs.parse({**tree, "gate": {"latency_p50_ms": {"limit": 1}}}, "mine")
