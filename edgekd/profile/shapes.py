"""Infer every shape of an ONNX graph for a given batch.

onnx's own inference leaves out shapes that the graph computes (a slice at half of the channels);
that arithmetic is done here, node by node, and the inference begun again with what it gave.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from edgekd.core.errors import UsageError

Values = dict[str, NDArray[np.generic]]
_SMALL = 64  # elements: sizes and indices, not weights
_ROUNDS = 200  # for graphs that go deeper there is no answer
_ARITHMETIC = (
    "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Floor", "Ceil", "Cast", "Gather", "Slice",
    "Concat", "Squeeze", "Unsqueeze", "Reshape", "Identity", "Range", "ConstantOfShape", "Equal",
    "Where", "ReduceProd", "Neg",
)  # fmt: skip


def inferred(model: ModelProto, path: Path) -> ModelProto:
    """Return a model without the values of its weights, with as many shapes as can be known.

    Raises:
        UsageError: the shapes contradict each other.
    """
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims)) > _SMALL:
            bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            tensor.CopyFrom(bare)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            tensors[node.output[0]] = node.attribute[0].t
    known = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in tensors.items()
        if int(np.prod(tensor.dims)) <= _SMALL and not tensor.external_data
    }
    for _ in range(_ROUNDS):
        try:
            found = shape_inference.infer_shapes(model, data_prop=True)
        except (shape_inference.InferenceError, ValueError) as error:
            raise UsageError(f"the shapes of '{path}' cannot be inferred: {error}") from error
        new = _computed(found, known)
        if not new:
            return found
        known |= new
        for index in reversed(range(len(model.graph.node))):
            if set(model.graph.node[index].output) & set(new):
                del model.graph.node[index]
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in new.items()
        )
    raise UsageError(f"the shapes of '{path}' depend on each other too deeply to be inferred")


def _computed(model: ModelProto, known: Values) -> Values:
    """Return the small tensors that can be computed from what is known."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }
    new: Values = {}
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        there = known | new
        if node.op_type == "Shape" and inputs[0] in shapes and not node.attribute:
            new[node.output[0]] = np.array(shapes[inputs[0]], np.int64)
        elif node.op_type in _ARITHMETIC and inputs and all(name in there for name in inputs):
            value = _evaluate(node, {name: there[name] for name in inputs}, model)
            if value.size <= _SMALL:
                new[node.output[0]] = value
    return new


def _evaluate(node: NodeProto, inputs: Values, model: ModelProto) -> NDArray[np.generic]:
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in inputs.items()
    ]
    result = helper.make_empty_tensor_value_info(node.output[0])
    graph = helper.make_graph([node], "one", values, [result])
    single = helper.make_model(graph, opset_imports=model.opset_import)
    (value,) = ReferenceEvaluator(single).run(None, inputs)
    return np.asarray(value)
