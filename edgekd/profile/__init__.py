"""Measure latency on a device, through the agent."""
