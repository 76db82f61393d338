"""How well a model classifies, image by image."""
