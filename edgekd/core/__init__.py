"""What every other package stands on: errors, specs, records, look-up. No torch, no onnx."""
