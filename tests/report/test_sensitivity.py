from datetime import UTC, datetime
from typing import Any

from edgekd.core import records
from edgekd.core.records import Interval
from edgekd.core.sensitivity import Damage, Layer, Mixed, Sensitivity, Trial
from edgekd.report import sensitivity
from tests.report.reading import Node, read

DROP = Interval(value=1.5, low=0.25, high=3.0, confidence=0.95)


def damage(kl_nats: float) -> Damage:
    return Damage(
        relative_l2=0.125, kl_nats=kl_nats, max_error=2.5, top1_percent=97.5, lost=4, gained=1,
        drop_pp=DROP,
    )  # fmt: skip


def record(**changes: Any) -> Sensitivity:
    made = records.Provenance(
        made_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        command=("edgekd", "sensitivity", "student"),
        versions={"edgekd": "0.1"},
        machine="Tiny, 1 cores, Linux",
        seed=0,
    )
    values: dict[str, Any] = {
        "provenance": made,
        "parents": ("a" * 64,),
        "subject": "student",
        "target": "tensorrt-int8",
        "calibration": "entropy on 512 training images",
        "source": "digits",
        "images": 200,
        "images_sha256": "e" * 64,
        "top1_percent": 99.0,
        "left_float": ("linear",),
        "everything": damage(0.5),
        "layers": tuple(
            Layer(layer=name, operator="Conv", alone=damage(kl), without=None)
            for name, kl in (("conv2", 0.25), ("conv1", 0.0125))
        ),
    }
    return Sensitivity(**(values | changes))


def mixed(**changes: Any) -> Mixed:
    trial = Trial(keep_float=("conv2",), drop_pp=DROP, state="passed")
    values: dict[str, Any] = {
        "margin": 3.5,
        "confidence": 0.95,
        "state": "passed",
        "keep_float": ("conv2",),
        "trials": (trial,),
        "images_needed": None,
        "message": "1 of 2 layers must stay float: conv2",
    }
    return Mixed(**(values | changes))


def section(of: Node, slug: str) -> Node:
    (found,) = [node for node in of.all("section") if node.attributes.get("id") == slug]
    return found


def test_the_table_has_the_numbers_of_the_record() -> None:
    page = read(sensitivity.html(record()))
    text = section(page, "numbers").all("tbody")[0].text
    for shown in ("Conv", "0.25", "0.125", "2.5", "97.50", "1.50 [0.25, 3.00]", "conv1", "0.0125"):
        assert shown in text


def test_the_page_says_what_int8_costs_as_a_whole_and_what_the_target_leaves() -> None:
    text = section(read(sensitivity.html(record())), "layers").text
    assert "In float 99.00 % of the images are right, with all 2 layers in INT8 97.50 %" in text
    assert "The target leaves float: linear." in text


def test_each_layer_has_a_bar() -> None:
    drawing = section(read(sensitivity.html(record())), "layers").all("svg")[0]
    tips = [node.text for node in drawing.all("title")]
    assert {"conv2: 0.25", "conv1: 0.0125"} <= set(tips)


def test_layers_without_any_damage_are_drawn_too() -> None:
    layers = (Layer(layer="conv1", operator="Conv", alone=damage(0.0), without=damage(0.0)),)
    page = read(sensitivity.html(record(layers=layers)))
    assert "Their drop (pp)" in section(page, "numbers").text


def test_many_layers_are_drawn_in_part_and_listed_in_full() -> None:
    layers = tuple(
        Layer(layer=f"conv{place}", operator="Conv", alone=damage(1 / place), without=None)
        for place in range(1, 61)
    )
    page = read(sensitivity.html(record(layers=layers)))
    assert "The first 40 of 60 are drawn." in section(page, "layers").text
    assert len(section(page, "numbers").all("tbody")[0].all("tr")) == 60


def test_mixed_precision_shows_rule_trials_and_a_caution() -> None:
    page = read(sensitivity.html(record(mixed=mixed())))
    text = section(page, "mixed").text
    assert "below 3.5 pp at 95 % confidence. PASSED: 1 of 2 layers must stay float: conv2." in text
    assert "1.50 [0.25, 3.00]" in text
    assert "on test images" in page.one("aside", "doubts").text


def test_without_mixed_precision_there_is_no_such_section() -> None:
    links = [node.attributes["href"] for node in read(sensitivity.html(record())).all("a")]
    assert "#mixed" not in links
    assert "#layers" in links


def test_names_are_escaped() -> None:
    assert "<b>" not in sensitivity.html(record(subject="<b>"))
