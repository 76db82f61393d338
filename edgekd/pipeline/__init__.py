"""The whole job, step by step."""
