"""Show records: terminal and HTML."""
