from edgekd.core.run_folder import Run
from edgekd.report import html
from tests.report.reading import read


def test_what_does_not_decide_is_told_without_alarm(run: Run) -> None:
    rows = read(html.html(run)).all("table")[0].one("tbody").all("tr")
    looks = {row.all("th")[0].text: row.all("span", "state")[0].classes for row in rows}
    assert "quiet" in looks["size ratio (informative)"]
    assert "quiet" not in looks["latency ratio"]
