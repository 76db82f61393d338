"""One file a criterion: which channels matter least."""
