"""What runs ON THE DEVICE: standard library and numpy, Python 3.8, nothing else of edgekd.

``python -m edgekd.agent`` here, ``python agent.pyz`` (a zipapp of this folder) on a board. It sends
raw samples and counters as JSON lines; all statistics are computed where the lines are read.
"""
