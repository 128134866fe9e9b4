"""Limits on what a run has found, for continuous integration."""
