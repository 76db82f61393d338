"""Colours that can be told apart: WCAG 2.2, 1.4.3 (text, 4.5:1) and 1.4.11 (marks, 3:1)."""

import re
from pathlib import Path

import pytest

import edgekd.report

CSS = (Path(edgekd.report.__file__).parent / "page.css").read_text(encoding="utf-8")
SERIES = ("c0", "c1", "c2", "c3", "c4", "c5", "c8")
STATES = ("passed", "failed", "inconclusive", "none")
Colour = tuple[float, float, float]


def schemes() -> dict[str, dict[str, Colour]]:
    """Return the colours of the light and the dark scheme, in [0, 255]."""
    light, dark = (
        dict(re.findall(r"--([\w-]+):\s*([^;]+);", block))
        for block in re.findall(r":root \{(.*?)\}", CSS, flags=re.DOTALL)[:2]
    )
    return {"light": colours(light), "dark": colours({**light, **dark})}


def colours(values: dict[str, str]) -> dict[str, Colour]:
    found = {}
    for name, value in values.items():
        if value.startswith("#"):
            r, g, b = (float(int(value[i : i + 2], 16)) for i in (1, 3, 5))
            found[name] = (r, g, b)
        elif re.fullmatch(r"\d+, \d+, \d+", value):
            r, g, b = (float(part) for part in value.split(", "))
            found[name] = (r, g, b)
    return found


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio, WCAG 2.2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: Colour) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def over(colour: Colour, opacity: float, ground: Colour) -> Colour:
    r, g, b = (opacity * a + (1 - opacity) * c for a, c in zip(colour, ground, strict=True))
    return r, g, b


def test_black_on_white_has_the_highest_contrast() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(scheme: str) -> None:
    found = schemes()[scheme]
    for ground in ("ground", "panel"):
        for ink in ("ink", "soft", "accent", *STATES, *SERIES[:-1]):
            assert contrast(found[ink], found[ground]) >= 4.5, (ink, ground)
    for state in STATES:
        assert contrast(found[state], found[f"{state}-ground"]) >= 4.5, state
        assert contrast(found["ink"], found[f"{state}-ground"]) >= 4.5, state


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_and_focus_stand_out_from_every_ground(scheme: str) -> None:
    found = schemes()[scheme]
    for ground in ("ground", "panel"):
        for mark in (*SERIES, "focus", "failed"):
            assert contrast(found[mark], found[ground]) >= 3, (mark, ground)
        for series in SERIES[:-1]:  # the last is only for steps, which have no histogram
            assert contrast(over(found[series], 0.85, found[ground]), found[ground]) >= 3, series


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sign", ["more", "less"])
def test_numbers_can_be_read_in_cells_of_every_strength(scheme: str, sign: str) -> None:
    found = schemes()[scheme]
    strengths = [
        float(opacity) for opacity in re.findall(rf"\.{sign}\d {{ fill: rgba\(.*?, (\.\d+)\)", CSS)
    ]
    assert len(strengths) == 3
    for strength, opacity in zip((1, 2, 3, 4), [*strengths, 1.0], strict=True):
        cell = over(found[sign], opacity, found["panel"])
        ink = found["ink" if strength < 3 else "panel"]
        assert contrast(ink, cell) >= 4.5, (sign, strength)


def test_every_class_that_the_charts_use_has_a_style() -> None:
    folder = Path(edgekd.report.__file__).parent
    used = set()
    for path in folder.rglob("*.py"):
        for look in re.findall(
            r'"((?:whisker|tail|stroke|bar|bin|ink|curve|cell) ?)', path.read_text()
        ):
            used.add(look.strip())
    used |= {
        "grid",
        "axis",
        "limit",
        "front",
        "joint",
        "quantile",
        "mark",
        "count",
        "value",
        "tick",
    }
    assert not [look for look in used if f".{look}" not in CSS]
