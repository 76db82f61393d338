"""Pages in a real browser: no complaint, no request, no barrier, and tables that can be sorted."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core.run_folder import Run
from edgekd.report import compare, compare_page, html
from tests.report import browser, landscapes, test_sensitivity
from tests.report.browser import Browser
from tests.report.conftest import judged
from tests.report.test_energy import used
from tests.report.test_examples import kept

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.PROGRAM is None, reason="chromium is missing"),
]

CACHE = Path(__file__).parents[2] / ".pytest_cache" / "axe-core"
NAMES = (
    "[...document.querySelector('#ladder table').tBodies[0].rows].map(r => r.cells[0].innerText)"
)
SORTED = "document.querySelector('#ladder th:nth-child(6)').getAttribute('aria-sort')"
VIOLATIONS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map(
  (one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3)}`))
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(Browser(tmp_path_factory.mktemp("browser")))
        except browser.EndedError as error:
            pytest.skip(f"chromium does not start: {error}")
        yield opened


def everything(folder: Path) -> Run:
    """Return a run with all that a page can show."""
    run = used(kept(judged(folder)))
    found = test_sensitivity.record(mixed=test_sensitivity.mixed())
    return replace(run, sensitivity=found, landscape=landscapes.landscape())


@pytest.fixture(scope="module")
def pages(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    other = judged(folder / "other")
    runs = compare.read([run.folder, other.folder])
    texts = {
        "report": html.html(everything(folder / "own")),
        "compare": compare_page.html(compare.compare(runs), runs),
    }
    found = {name: folder / f"{name}.html" for name in texts}
    for name, text in texts.items():
        found[name].write_text(text, encoding="utf-8")
    return found


@pytest.mark.parametrize("name", ["report", "compare"])
def test_the_browser_has_no_complaint_and_asks_for_nothing(
    window: Browser, pages: dict[str, Path], name: str
) -> None:
    window.open(pages[name])
    assert window.run("document.images.length + document.fonts.size") == (
        3 if name == "report" else 0
    )
    assert window.console == []
    asked = [address for address in window.requests if not address.startswith("data:")]
    assert asked == [pages[name].as_uri()]


def test_a_page_that_would_ask_for_something_is_stopped(window: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    page.write_text(f'<head>{policy}</head><img src="http://127.0.0.1:9/x.png">')
    window.open(page)
    window.wait(lambda: any("Content Security Policy" in line for line in window.console))


def test_a_column_is_sorted_by_mouse(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["report"])
    button = "document.querySelector('#ladder th:nth-child(6) button')"
    window.run(f"{button}.click(); {button}.click()")
    assert window.run(SORTED) == "descending"
    assert window.run(NAMES)[:3] == ["teacher-onnx-fp32", "onnx-fp32", "onnx-int8"]


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_column_is_sorted_by_keyboard(window: Browser, pages: dict[str, Path], key: str) -> None:
    window.open(pages["report"])
    window.run("document.querySelector('#ladder th:nth-child(5) button').focus()")
    window.press("Tab")
    window.press(key)
    assert window.run(SORTED) == "ascending"
    assert window.run(NAMES)[-1] == "teacher-onnx-fp32"


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("width", [1280, 800, 360])
def test_the_page_is_no_wider_than_its_window(
    window: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    window.open(pages[name], width=width)
    assert window.run("document.documentElement.scrollWidth") <= width


def test_what_is_folded_is_printed(window: Browser, pages: dict[str, Path]) -> None:
    window.open(pages["report"], media="print")
    window.run("dispatchEvent(new Event('beforeprint'))")
    assert window.run("document.querySelectorAll('details:not([open])').length") == 0
    assert window.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert base64.b64decode(window.call("Page.printToPDF")["data"]).startswith(b"%PDF-")


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("look", [{}, {"dark": True}, {"width": 360}, {"media": "print"}], ids=str)
def test_axe_finds_no_barrier(
    window: Browser, pages: dict[str, Path], name: str, look: dict[str, object]
) -> None:
    axe = browser.axe(CACHE)
    if axe is None:
        pytest.skip("axe-core is missing")
    window.open(pages[name], **look)  # type: ignore[arg-type]
    window.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    window.run(axe)
    assert window.run(VIOLATIONS) == []


def test_axe_would_find_one(window: Browser, tmp_path: Path) -> None:
    axe = browser.axe(CACHE)
    if axe is None:
        pytest.skip("axe-core is missing")
    page = tmp_path / "page.html"
    page.write_text("<html><body><img src='data:,'></body></html>")
    window.open(page)
    window.run(axe)
    assert any(found.startswith("image-alt") for found in window.run(VIOLATIONS))


def test_a_browser_that_cannot_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\necho no such library >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(browser, "PROGRAM", str(program))
    with pytest.raises(browser.EndedError, match="has ended: no such library"):
        Browser(tmp_path / "profile").__enter__()
