import json
from pathlib import Path
from typing import Any

import pytest

from edgekd.profile import precisions

EXAMPLES = Path(__file__).parents[1] / "data" / "engines"


def layer(name: str, kind: str, inputs: tuple[str, ...], *outputs: str, **more: Any) -> Any:
    ends = {"Inputs": inputs, "Outputs": outputs}
    tensors = {
        key: [{"Name": str(place), "Datatype": dtype} for place, dtype in enumerate(types)]
        for key, types in ends.items()
    }
    return {"Name": name, "LayerType": kind, **tensors, **more}


def read(folder: Path, *layers: Any) -> dict[str, str]:
    (folder / "told.json").write_text(json.dumps({"Layers": layers}))
    return precisions.read(folder / "told.json")


@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "precision"),
    [
        ("QLinearConv", ("uint8", "float", "uint8", "int32"), ("uint8",), "int8"),
        ("QGemm", ("uint8", "float", "int32"), ("float",), "int8"),
        ("FusedConv", ("float", "float", "float"), ("float",), "fp32"),
        ("Gemm", ("float16", "float16"), ("float16",), "fp16"),
        ("Reshape", ("float", "int64"), ("float",), "fp32"),
        ("Transpose", ("int8",), ("int8",), "int8"),
        ("Gather", ("int64", "int64"), ("int64",), "int64"),
        ("QuantizeLinear", ("float", "float", "uint8"), ("uint8",), "fp32 to int8"),
        ("DequantizeLinear", ("uint8", "float", "uint8"), ("float",), "int8 to fp32"),
        ("Cast", ("float", ), ("float16",), "fp32 to fp16"),
        # What is quantised inside, the types alone do not tell.
        ("DynamicQuantizeMatMul", ("float", "int8", "float"), ("float",), ""),
        ("MatMulNBits", ("float", "float"), ("float",), ""),
        ("Where", ("bool", "float", "float16"), ("float",), ""),
        ("QuantizeLinear", (), (), ""),
        ("Conv", (), (), ""),
        ("Conv", ("double",), ("double",), ""),
    ],
)  # fmt: skip
def test_a_node_of_onnx_runtime_is_told_by_the_types_that_it_reads(
    kind: str, inputs: tuple[str, ...], outputs: tuple[str, ...], precision: str, tmp_path: Path
) -> None:
    assert read(tmp_path, layer("a", kind, inputs, *outputs)) == {"a": precision}


@pytest.mark.parametrize(
    ("fields", "precision"),
    [
        (layer("a", "CaskConvolution", ("Int8", "Half"), Weights={"Type": "Int8"}), "int8"),
        (layer("a", "CaskConvolution", ("Int8",), Weights={"Type": "Float"}), "fp32"),
        (layer("a", "CaskGemmMatrixMultiply", ("Half",), Weights={"Type": "Int8"}), ""),
        (layer("a", "gemm", ("Half", "Float"), TacticName="sm80_i8i8_i8i32_f32"), "int8"),
        (layer("a", "gemm", ("Half", "Float"), TacticName="sm80_f16f16"), ""),
        (layer("a", "Reformat", ("Float",), "Int8", Origin="QDQ"), "fp32 to int8"),
        (layer("a", "Reformat", ("Half",), "Half", Origin="REFORMAT"), "fp16"),
        (layer("a", "PointWiseV2", ("Half", "Half")), "fp16"),
        (layer("a", "kgen", ("Half",), Metadata="[ONNX Layer: a/QuantizeLinear][ONNX Layer: b]"),
         ""),
        (layer("a", "kgen", ("Half",), Metadata="[ONNX Layer: a/Add]"), "fp16"),
    ],
)  # fmt: skip
def test_a_layer_of_tensorrt_is_told_by_its_kernel_weights_and_types(
    fields: Any, precision: str, tmp_path: Path
) -> None:
    assert read(tmp_path, fields) == {"a": precision}


def test_names_alone_tell_no_precision(tmp_path: Path) -> None:
    assert read(tmp_path, "conv1/Conv") == {"conv1/Conv": ""}
    assert read(tmp_path) == {}


def test_layers_of_one_name_and_two_precisions_have_none(tmp_path: Path) -> None:
    same = [layer("a", "Conv", ("float",)), layer("a", "Conv", ("float",))]
    assert read(tmp_path, *same) == {"a": "fp32"}
    other = layer("a", "Conv", ("float16",))
    assert read(tmp_path, *same, other, same[0]) == {"a": ""}


def test_both_schemas_of_the_inspector_say_the_same() -> None:
    old, new = (precisions.read(EXAMPLES / f"layers_{name}.json") for name in (10, 11))
    assert old == new
    assert old["conv1.weight + conv1/Conv + relu/Relu"] == "int8"
    assert old["layer1.0.conv2/Conv"] == "fp16"
    assert old["images_quant"] == "fp32 to int8"
