"""Ship a trained CNN to an edge device: compress, distil, export, measure, gate."""

__version__ = "0.1.0"
