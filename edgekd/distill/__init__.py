"""Train a student with the help of a teacher."""
