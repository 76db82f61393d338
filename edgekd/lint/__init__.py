"""Check an ONNX file against what TensorRT accepts and runs fast; no GPU needed."""
