"""Versions, and what several of them have in common."""

import numpy as np
import pytest

from edgekd.core.errors import UsageError
from edgekd.lint import operators, run
from edgekd.lint.model import Graph
from tests.lint.graphs import Net, sound


@pytest.mark.parametrize(("text", "expected"), [("10.3", (10, 3)), ("8.6.1", (8, 6))])
def test_a_version_is_read(text: str, expected: tuple[int, int]) -> None:
    assert run.parse(text) == expected


@pytest.mark.parametrize("text", ["", "10", "ten.3", "7.1", "12.0", "10.-3", "8.4", "10.³"])
def test_what_is_no_version_or_not_covered_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="TensorRT"):
        run.parse(text)


def test_equal_findings_of_several_versions_become_one_that_names_them() -> None:
    graph = Graph(sound().put("c1.x.zero", 0, np.uint8).model())
    found = [f for f in run.lint(graph).findings if f.rule == "Q002"]
    assert len(found) == 4  # of Q and of DQ
    assert {(f.severity, f.trt) for f in found} == {
        ("error", ("8.5", "8.6", "10.3")),
        ("warning", ("10.13", "11.4")),
    }


def test_the_worst_findings_come_first() -> None:
    net = sound().put("c1.x.zero", 3, np.int8).node("Dropout", "y", "z")
    severities = [finding.severity for finding in run.lint(Graph(net.model())).findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert set(severities) == {"error", "warning", "info"}


def test_a_sound_graph_has_only_remarks() -> None:
    assert {f.severity for f in run.lint(Graph(sound().model())).findings} == {"info"}


@pytest.mark.parametrize(
    ("version", "table"),
    [((8, 5), (10, 1)), ((10, 3), (10, 1)), ((10, 15), (10, 15)), ((11, 4), (10, 15))],
)
def test_the_nearest_earlier_table_is_used(
    version: tuple[int, int], table: tuple[int, int]
) -> None:
    assert operators.table_for(version) == table


def test_the_table_is_named_where_it_is_another_versions() -> None:
    graph = Graph(sound().model())
    assert "8.5" in run.lint(graph, [(8, 5)]).notes[0]
    assert "10.1" in run.lint(graph, [(8, 5)]).notes[0]
    assert run.lint(graph, [(10, 1)]).notes == ()


def test_rules_have_identities_of_their_own_and_say_what_they_are() -> None:
    rules = run.every_rule()
    assert len({rule.id for rule in rules}) == len(rules) == 40
    assert all(rule.title and rule.why and rule.source and rule.fix for rule in rules)


def test_the_note_of_the_exporter_labels_a_model() -> None:
    model = Net().node("Relu", "x", "y").model()
    model.metadata_props.add(key="edgekd.target", value="tensorrt-int8")
    assert "Q023" in {finding.rule for finding in run.lint(Graph(model)).findings}
