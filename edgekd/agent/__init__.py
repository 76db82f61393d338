"""What runs on the board: standard library and numpy, Python 3.8, nothing else of edgekd."""
