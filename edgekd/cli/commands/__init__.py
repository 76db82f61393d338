"""One file a command: NAME, and the function ``command``."""
