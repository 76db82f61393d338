"""The files for NVIDIA's viewer keep the rules that its reader has."""

import json
from pathlib import Path

import pytest

from edgekd.core.errors import UsageError
from edgekd.profile import viewer

EXAMPLES = Path(__file__).parents[1] / "data" / "engines"


@pytest.mark.parametrize("schema", [10, 11])
def test_each_schema_becomes_the_one_that_trex_reads(schema: int, tmp_path: Path) -> None:
    graph, profile = viewer.write(
        EXAMPLES / f"layers_{schema}.json", EXAMPLES / "profile.json", tmp_path / "trex"
    )
    read = json.loads(graph.read_text())
    assert read["Bindings"] == ["images", "logits"]
    assert len(read["Layers"]) == 11
    for layer in read["Layers"]:
        assert {"Name", "LayerType", "ParameterType"} <= set(layer)
        for tensor in [*layer["Inputs"], *layer["Outputs"]]:
            assert tensor["Format/Datatype"]
            assert {"Datatype", "DataType"}.isdisjoint(tensor)
    records = [record for record in json.loads(profile.read_text()) if len(record) in (4, 5)]
    assert [record["name"] for record in records] == [layer["Name"] for layer in read["Layers"]]
    assert sum(record["percentage"] for record in records) == pytest.approx(100)
    assert records[0]["timeMs"] == pytest.approx(200 * records[0]["averageMs"])


def test_an_engine_up_to_10_is_passed_on_as_it_is(tmp_path: Path) -> None:
    graph, _ = viewer.write(EXAMPLES / "layers_10.json", EXAMPLES / "profile.json", tmp_path)
    before = json.loads((EXAMPLES / "layers_10.json").read_text())
    after = json.loads(graph.read_text())
    after["Layers"] = [
        {key: value for key, value in layer.items() if key in before["Layers"][index]}
        for index, layer in enumerate(after["Layers"])
    ]
    assert after == before


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    layer = {"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [], "Outputs": []}
    row = {"name": "conv", "timeMs": 1, "averageMs": 1}
    (tmp_path / "layers.json").write_text(json.dumps({"Layers": [layer, layer]}))
    (tmp_path / "profile.json").write_text(json.dumps([{"count": 1}, row, row]))
    paths = viewer.write(tmp_path / "layers.json", tmp_path / "profile.json", tmp_path / "trex")
    graph, profile = (json.loads(path.read_text()) for path in paths)
    assert [one["Name"] for one in graph["Layers"]] == ["conv", "conv_2"]
    assert [one["name"] for one in profile[1:]] == ["conv", "conv_2"]


def test_names_alone_are_too_little(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text('{"Layers": ["conv"]}')
    with pytest.raises(UsageError, match="names only, and trex needs more"):
        viewer.write(tmp_path / "layers.json", EXAMPLES / "profile.json", tmp_path / "trex")
