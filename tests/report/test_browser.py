"""The page in a real browser: no complaint, and tables that can be sorted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgekd.core.run_folder import Run
from edgekd.report import html

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is missing"),
]

# Sorts the ladder by size, down, and writes what the table says then into the title.
PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("#ladder table");
  const button = table.tHead.rows[0].cells[5].querySelector("button");
  button.click(); button.click();
  const names = [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const sort = table.tHead.rows[0].cells[5].getAttribute("aria-sort");
  document.title = `${sort}: ${names.slice(0, 3).join(" ")}; wide ${document.body.scrollWidth}`;
});
</script></body>
"""


def opened(page: Path, folder: Path, width: int) -> tuple[str, str]:
    """Return the document after its scripts have run, and what the console says."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},900", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, "\n".join(console)


def test_the_browser_has_no_complaint_and_sorts_by_number(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.html(run).replace("</body>", PROBE), encoding="utf-8")
    document, console = opened(page, tmp_path, width=1280)
    assert console == ""
    title = re.search("<title>(.*?)</title>", document)
    assert title is not None
    assert title[1].startswith("descending: teacher-onnx-fp32 onnx-fp32 onnx-int8;")


@pytest.mark.parametrize("width", [1280, 800, 500])
def test_the_page_is_no_wider_than_its_window(run: Run, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(html.html(run).replace("</body>", PROBE), encoding="utf-8")
    document, _ = opened(page, tmp_path, width)
    title = re.search("wide ([0-9]+)</title>", document)
    assert title is not None
    assert int(title[1]) <= width
