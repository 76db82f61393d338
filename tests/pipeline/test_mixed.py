"""The search for float layers by the gate's rule, and the target that it ends in."""

import tomllib

import pytest

from edgekd.core import specs, statistics
from edgekd.core.checking import checked
from edgekd.core.sensitivity import Damage, Mixed
from edgekd.evaluate.sensitivity import CONFIDENCE
from edgekd.export.target import Target
from edgekd.pipeline import mixed

ORDER = ("first", "second", "third")
RULE = specs.AccuracyRule(margin=1.0)


def damage(lost: int, images: int = 1000) -> Damage:
    return Damage(
        relative_l2=0.1, kl_nats=0.1, max_error=1, top1_percent=90, lost=lost, gained=0,
        drop_pp=statistics.paired_difference(lost, 0, images, CONFIDENCE),
    )  # fmt: skip


def mix(lost: dict[tuple[str, ...], int], images: int = 1000) -> Mixed:
    return mixed.mix(ORDER, lambda keep: damage(lost[keep], images), RULE, images)


def test_all_layers_may_be_int8() -> None:
    found = mix({(): 2})
    assert (found.state, found.keep_float, len(found.trials)) == ("passed", (), 1)
    assert found.message == "all 3 layers can be INT8"


def test_the_interval_decides_and_not_the_estimate() -> None:
    # 8 lost of 1000 are 0.8 pp, but the bound at 95 % is above 1 pp.
    found = mix({(): 8, ("first", "second"): 1, ("first",): 2})
    assert [trial.state for trial in found.trials] == ["inconclusive", "passed", "passed"]
    assert found.keep_float == ("first",)
    assert found.message == "1 of 3 layers must stay float: first"


def test_the_trim_gives_layers_back_that_need_not_stay_float() -> None:
    found = mix({(): 50, ("first", "second"): 1, ("first",): 50, ("second",): 1})
    assert found.keep_float == ("second",)


def test_it_fails_if_even_the_last_layer_costs_too_much() -> None:
    found = mix({(): 90, ("first", "second"): 50})
    assert (found.state, found.keep_float, found.images_needed) == ("failed", (), None)
    assert found.message == "not enough, even with 2 of 3 layers in float"


def test_a_doubtful_end_says_how_many_images_would_decide() -> None:
    found = mix({(): 90, ("first", "second"): 8})
    assert found.state == "inconclusive"
    assert found.images_needed == statistics.images_needed(0.01, 0.008, drop=0.008)
    assert "1,000 images do not decide, about" in found.message


def test_too_few_images_are_said_before_anything_is_tried() -> None:
    found = mix({}, images=267)
    assert (found.state, found.trials) == ("inconclusive", ())
    assert found.images_needed == 268  # 1.645 ** 2 * 0.99 / 0.01
    assert mix({(): 0}, images=268).state == "passed"


@pytest.mark.parametrize("name", ["tensorrt-int8", "onnx-int8"])
def test_the_written_target_is_the_base_with_float_layers(name: str) -> None:
    base = Target.read(name)
    rules = base.quantise.model_copy(update={"keep_float": ("a.0", "b")})
    target = base.model_copy(update={"quantise": rules})
    found = mix({(): 2})
    text = mixed.toml(target, found, 'strange "name"\n')
    read = checked(Target, tomllib.loads(text), "target")
    assert read == target.model_copy(update={"name": f"{name}-mixed"})
