"""What TensorRT's inspector writes, in both schemas and all verbosities."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.errors import UsageError
from edgekd.profile import layers, viewer
from edgekd.profile.explain import explain

EXAMPLES = Path(__file__).parents[1] / "data" / "engines"


def engine(folder: Path, *entries: Any) -> layers.Engine:
    path = folder / "layers.json"
    path.write_text(json.dumps({"Layers": entries, "Bindings": []}))
    return layers.read_engine(path)


def layer(folder: Path, **fields: Any) -> layers.Layer:
    return engine(folder, {"Name": "one", **fields}).layers[0]


def test_both_schemas_say_the_same_of_an_engine() -> None:
    old, new = (layers.read_engine(EXAMPLES / f"layers_{name}.json") for name in (10, 11))
    assert old.detailed
    assert new.detailed
    assert [(one.role, one.precision, one.nodes) for one in old.layers] == [
        (one.role, one.precision, one.nodes) for one in new.layers
    ]
    assert [one.role for one in old.layers].count("weighted") == 5
    assert [one.precision for one in old.layers if one.role == "weighted"].count("int8") == 3


def test_names_alone_tell_what_they_can(tmp_path: Path) -> None:
    found = engine(
        tmp_path,
        "conv1.weight + QuantizeLinear_7 + Conv_9 + MaxPool_12",
        "Reformatting CopyNode for Input Tensor 0 to Conv_9",
        "/neck/Concat_/neck/Resize_output_0_clone_0 copy",
        "PWN(/neck/relu/LeakyRelu)",
        "/conv1/_input_quantizer/QuantizeLinear",
    )
    assert not found.detailed
    roles = [one.role for one in found.layers]
    assert roles == ["weighted", "reformat", "reformat", "pointwise", "quantise"]
    assert {one.precision for one in found.layers} == {""}


@pytest.mark.parametrize(
    ("fields", "role", "precision"),
    [
        ({"LayerType": "ConvActPool", "ConvWeights": {"Type": "Int8", "Count": 9}}, "weighted",
         "int8"),
        ({"LayerType": "CaskGemmMatrixMultiply", "TacticName": "sm80_i8i8_i8i32"}, "weighted",
         "int8"),
        ({"LayerType": "gemm", "Inputs": [{"Name": "x", "Datatype": "Half"}]}, "weighted", "fp16"),
        # INT8 goes in, and is computed in float.
        ({"LayerType": "CaskConvolution", "Weights": {"Type": "Float", "Count": 9},
          "Inputs": [{"Name": "x", "Format/Datatype": "Int8"}]}, "weighted", "fp32"),
        ({"LayerType": "kgen", "Metadata": "[ONNX Layer: /a/Add]\x1e[ONNX Layer: /a/Conv]"},
         "pointwise", ""),
        ({"LayerType": "fusion", "Metadata": "[ONNX Layer: /fc/MatMul]"}, "weighted", ""),
        ({"LayerType": "Reformat", "Origin": "QDQ"}, "quantise", ""),
        ({"LayerType": "Reformat", "Origin": "REFORMAT"}, "reformat", ""),
        ({"LayerType": "Scale", "Metadata": "[ONNX Layer: /a/DequantizeLinear]"}, "quantise", ""),
        # Names need not end with an operator, and only that of the weights' Q does.
        ({"LayerType": "CaskConvolution", "Metadata": "[ONNX Layer: w/QuantizeLinear]"},
         "weighted", ""),
        ({"LayerType": "kgen", "Metadata": "[ONNX Layer: a/QuantizeLinear][ONNX Layer: swish]"},
         "pointwise", ""),
        ({"LayerType": "PointWiseV2"}, "pointwise", ""),
        ({"LayerType": "CaskPooling"}, "other", ""),
    ],
)  # fmt: skip
def test_a_layer_is_told_by_its_weights_type_and_nodes(
    fields: dict[str, Any], role: str, precision: str, tmp_path: Path
) -> None:
    found = layer(tmp_path, **fields)
    assert (found.role, found.precision) == (role, precision)


@pytest.mark.parametrize("separator", ["\x1e", "", "\x1f", "\n"])
def test_metadata_names_nodes_whatever_stands_between(separator: str, tmp_path: Path) -> None:
    text = separator.join(f"[ONNX Layer: {name}]" for name in ("/conv1/Conv", "/relu/Relu"))
    assert layer(tmp_path, Metadata=text).nodes == ("/conv1/Conv", "/relu/Relu")


def test_metadata_may_hold_raw_control_signs(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text('{"Layers": [{"Name": "a", "Metadata": "[ONNX Layer: x]\x1e[ONNX Layer: y]"}]}')
    assert layers.read_engine(path).layers[0].nodes == ("x", "y")


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("layer1.0.conv1/Conv", "layer1.0.conv1"),
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.0/features.0.0/Conv", "features.0.0"),
        ("/layer1/layer10/Conv", "layer1.layer10"),
        ("Conv_9", ""),
        ("/Add", ""),
    ],
)
def test_a_node_is_named_after_its_module(node: str, module: str) -> None:
    assert layers.module_of(node) == module


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "fp16"),
        ("Row major linear FP32", "fp32"),
        ("Half", "fp16"), ("Float", "fp32"), ("BFloat16", "bf16"), ("UInt8", "uint8"),
        ("N/A due to dynamic shapes", ""),
    ],
)  # fmt: skip
def test_types_are_found_in_the_words_of_all_versions(text: str, dtype: str) -> None:
    assert layers.type_of(text) == dtype


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[1]", 'has no list "Layers"'),
        ('{"Layers": []}', 'has no list "Layers"'),
        ('{"Layers": [3]}', "neither a name nor an object"),
        ('{"Layers": [{"LayerType": "Conv"}]}', "neither a name nor an object"),
        ("[" * 100000, "is not JSON"),
    ],
)
def test_what_is_no_list_of_layers_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        layers.read_engine(tmp_path / "layers.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (layers.read_engine, layers.read_profile, layers.read_times):
        with pytest.raises(UsageError, match=r"none.json' cannot be read"):
            read(tmp_path / "none.json")


def test_a_broken_profile_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text("[]")
    with pytest.raises(UsageError, match=r"profile.json'"):
        layers.read_profile(tmp_path / "profile.json")


# Any file


KEYS = st.sampled_from(
    ["Name", "LayerType", "Inputs", "Outputs", "Weights", "Metadata", "Type", "Count", "Datatype",
     "Format/Datatype", "Dimensions", "TacticName", "Origin", "ParameterType"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


LAYER = st.dictionaries(KEYS, JSON, max_size=6).map(lambda fields: {**fields, "Name": "a"})
TREE = st.fixed_dictionaries(
    {"Layers": st.lists(LAYER | JSON, max_size=3)}, optional={"I/O Tensors": JSON, "Bindings": JSON}
)


@given(TREE | JSON)
def test_any_json_is_explained_or_refused(tmp_path_factory: Any, value: Any) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "layers.json").write_text(json.dumps(value))
    (folder / "profile.json").write_text(
        '[{"count": 9}, {"name": "a", "timeMs": 9, "averageMs": 1}]'
    )
    files = folder / "layers.json", folder / "profile.json"
    try:
        found = explain(*files)
        graph, _ = viewer.write(*files, folder)
    except UsageError:
        return
    assert found.verdict
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert json.loads(graph.read_text())["Layers"]
