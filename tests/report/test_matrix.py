import numpy as np
import pytest

from edgekd.report import matrix
from edgekd.report.svg import NARROW, WIDE, Chart
from tests.report.reading import read

CHART = Chart("chart", "Title", "Description")


def test_each_change_is_written_in_its_cell() -> None:
    change_kk = np.array([[-3, 3], [0, 0]])
    image = read(matrix.svg_confusion(CHART, change_kk, ["cat", "dog"]))
    cells = image.all("rect", "cell")
    assert len(cells) == 4
    assert [node.text for node in image.all("text", "count")] == ["-3", "+3"]
    assert cells[0].text == "cat recognised as cat: -3 images"
    assert cells[1].text == "cat taken for dog: +3 images"
    assert cells[0].number("y") == cells[1].number("y")
    assert cells[0].number("x") == cells[2].number("x")


def test_the_largest_change_is_the_strongest_and_none_has_no_colour() -> None:
    change_kk = np.array([[-8, 1], [0, 8]])
    image = read(matrix.svg_confusion(CHART, change_kk, ["cat", "dog"]))
    looks = [node.classes[1:] for node in image.all("rect", "cell")]
    assert looks == [["less4"], ["more1"], [], ["more4"]]


def test_a_single_image_is_a_pale_change_even_if_it_is_the_largest() -> None:
    image = read(matrix.svg_confusion(CHART, np.array([[-1, 1], [0, 0]]), ["cat", "dog"]))
    assert [node.classes[1:] for node in image.all("rect", "cell")][:2] == [["less1"], ["more1"]]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_many_classes_fit_the_width(width: int) -> None:
    names = [f"a rather long class name {index}" for index in range(20)]
    image = read(matrix.svg_confusion(CHART, np.eye(20, dtype=int), names, width=width))
    right = max(cell.number("x") + cell.number("width") for cell in image.all("rect", "cell"))
    assert right <= width
    assert [node.text for node in image.all("text", "label")] == [
        "predicted class (images)", "label (class)",
    ]  # fmt: skip
