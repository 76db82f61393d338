"""The sections of the page, one a file: from a run's records to blocks."""
