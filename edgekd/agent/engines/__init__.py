"""One file an engine; each imports its runtime when it opens a model."""
