"""Exact, truncated complete linkage: arrays in, arrays out. `linkage.py` is the place to start."""
