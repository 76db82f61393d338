"""The verdict of a run that really ran, in every form that CI reads."""

import json
from pathlib import Path

import jsonschema
import xmlschema

from edgekd.core import specs
from edgekd.core.run_folder import Run
from edgekd.gate.formats import Formats
from edgekd.pipeline import gate

SCHEMAS = Path(__file__).parents[1] / "gate" / "schemas"


def test_a_runs_verdict_fits_the_published_schemas(finished: Run, tmp_path: Path) -> None:
    rules = finished.folder / "recipe.json"
    verdict = gate.judge(specs.gate_of(rules), finished)
    told = Formats(
        junit=tmp_path / "gate.xml", sarif=tmp_path / "gate.sarif", markdown=tmp_path / "gate.md"
    )
    assert told.write(verdict, rules) == []
    cases = xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd").to_dict(told.junit)
    assert isinstance(cases, dict)
    assert len(cases["testcase"]) == len(verdict.findings)
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
    log = json.loads((tmp_path / "gate.sarif").read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(schema).validate(log)
    doubtful = [finding for finding in verdict.findings if finding.state != "passed"]
    assert len(log["runs"][0]["results"]) == len(doubtful)
    rows = [line for line in (tmp_path / "gate.md").read_text().splitlines() if line[:1] == "|"]
    assert len(rows) == 2 + len(verdict.findings)
