"""Choose the ranges of INT8 tensors."""
