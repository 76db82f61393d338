"""How to reach an agent: which device, how to start it there, and what it says."""
