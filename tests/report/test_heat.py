import re
from pathlib import Path

import pytest

import edgekd.report
from edgekd.report import heat
from edgekd.report.svg import Chart
from tests.report.reading import Node, read

CHART = Chart("plane", "Loss", "what it shows")
PLANE = ((1.0, 2.0, 4.0), (8.0, 16.0, 32.0), (64.0, 128.0, 512.0))


def drawn(width: int = 360) -> list[Node]:
    bounds = heat.bands(value for row in PLANE for value in row)
    text = heat.svg_heat(CHART, (-1.0, 0.0, 1.0), PLANE, bounds, ("x", "y"), width=width)
    return [node for node in read(text).all("rect", "heat") if node.children]


def test_bands_rise_by_an_equal_ratio() -> None:
    # 512 is 2 ** 9, and there are nine shades.
    assert heat.bands([512.0, 1.0, 7.0]) == pytest.approx((2, 4, 8, 16, 32, 64, 128, 256))


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [0.0, 5.0]])
def test_bands_of_values_that_are_0_or_equal_can_be_drawn(values: list[float]) -> None:
    bounds = heat.bands(values)
    assert len(bounds) == heat.SHADES - 1
    assert list(bounds) == sorted(bounds)
    assert bounds[0] > 0


def test_the_least_value_is_the_palest_and_the_greatest_the_darkest() -> None:
    shades = [cell.classes[-1] for cell in drawn()]
    assert shades[0] == "h0"
    assert shades[-1] == "h8"
    numbers = [int(shade[1:]) for shade in shades]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("width", [360, 760])
def test_cells_tile_the_square_rows_upwards(width: int) -> None:
    cells = drawn(width)
    (side,) = {cell.number("width") for cell in cells}
    first, second, fourth = cells[0], cells[1], cells[3]
    assert second.number("x") - first.number("x") == side
    assert fourth.number("y") - first.number("y") == -side
    assert all(cell.number("x") + side <= width for cell in cells)


def test_every_shade_has_a_style_and_each_is_darker_than_the_one_before() -> None:
    css = (Path(edgekd.report.__file__).parent / "page.css").read_text(encoding="utf-8")
    found = [float(o) for o in re.findall(r"svg \.h\d \{ fill-opacity: ([\d.]+);", css)]
    assert len(found) == heat.SHADES
    assert found == sorted(set(found))
