"""Judge records by rules."""
