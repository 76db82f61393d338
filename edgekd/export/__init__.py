"""Write a checkpoint in the form of a target."""
