import re
from pathlib import Path

from edgekd.core.landscape import Passage
from edgekd.report import landscape
from tests.report import landscapes
from tests.report.reading import Node, read

PASSAGE = Passage(start="pruned", end="deep", losses=(1.0, 3.25, 0.5), barrier=2.5)


def page(*terrains: landscapes.Terrain, passages: tuple[Passage, ...] = ()) -> Node:
    return read(landscape.html(landscapes.landscape(*terrains, passages=passages)))


def section(of: Node, slug: str) -> Node:
    (found,) = [node for node in of.all("section") if node.attributes.get("id") == slug]
    return found


def test_the_table_has_the_numbers_of_the_record() -> None:
    cells = [node.text for node in section(page(), "numbers").all("tbody")[0].walk()]
    assert cells[1:] == [
        "deep", "1", "42,938", "0.125", "12.3", "568", "9.87", "0.0456",
    ]  # fmt: skip


def test_the_page_says_how_to_read_it_and_what_speaks_against_it() -> None:
    found = page()
    assert "whatever each one was trained with" in section(found, "numbers").text
    doubts = found.one("aside", "doubts").text
    assert "can mislead" in doubts
    assert "arxiv.org/abs/2412.10146" in doubts
    assert "not settled" not in doubts


def test_an_eigenvalue_that_has_not_settled_is_named() -> None:
    curvature = landscapes.terrain("deep").curvature
    rough = curvature.model_copy(update={"converged": False, "iterations": 50})
    found = page(landscapes.terrain("deep", curvature=rough))
    assert "deep: the eigenvalue had not settled after 50" in found.one("aside", "doubts").text


def test_every_checkpoint_has_a_plane_with_a_cell_for_each_point() -> None:
    found = section(page(landscapes.terrain("pruned"), landscapes.terrain("deep")), "plane")
    drawings = found.all("svg")
    assert len(drawings) == 2
    for drawing in drawings:
        tips = [node.text for node in drawing.all("title")]
        assert "(-1, 0): 4" in tips
        assert "(-1, 1): 16" in tips
        assert sum(tip.startswith("(") for tip in tips) == 9


def test_planes_that_were_not_asked_for_have_no_section() -> None:
    links = [node.attributes["href"] for node in page().all("a")]
    assert "#plane" in links
    without = page(landscapes.terrain("deep", plane=None))
    assert "#plane" not in [node.attributes["href"] for node in without.all("a")]
    assert "#line" in [node.attributes["href"] for node in without.all("a")]


def test_paths_are_named_by_the_numbers_of_their_checkpoints() -> None:
    terrains = (landscapes.terrain("deep"), landscapes.terrain("pruned"))
    found = section(page(*terrains, passages=(PASSAGE,)), "paths")
    cells = [node.text for node in found.all("tbody")[0].walk()]
    assert cells[1:] == ["2 → 1", "pruned", "deep", "3.25", "2.5"]
    assert not [n for n in page().all("section") if n.attributes.get("id") == "paths"]


def test_a_name_cannot_bring_markup_into_the_page() -> None:
    text = landscape.html(landscapes.landscape(landscapes.terrain("<script>x</script>")))
    assert "<script>x" not in text


def test_the_page_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    landscape.write(landscapes.landscape(), tmp_path / "landscape.html")
    text = (tmp_path / "landscape.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#|data:,)', text)
    assert "url(" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["landscape.html"]


def test_ids_are_unique() -> None:
    found = page(landscapes.terrain("deep"), landscapes.terrain("pruned"), passages=(PASSAGE,))
    ids = [node.attributes["id"] for node in found.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
