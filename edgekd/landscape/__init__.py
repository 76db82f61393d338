"""How flat or sharp the loss is around a network's weights."""
