"""Exact, truncated complete linkage: arrays in, arrays out. Begin with `linkage.py`."""
