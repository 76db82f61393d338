"""A strict stand-in for pycuda: its driver module alone. There is no API for graphs, as in pycuda.

Importing ``pycuda.autoinit`` fails on purpose: it would make a second context.
"""

VERSION = (2024, 1, 2)
VERSION_STATUS = ""
VERSION_TEXT = "2024.1.2"
