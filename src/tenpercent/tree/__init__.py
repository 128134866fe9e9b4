"""Merges of a run: the cut, the growth of the tree, and queries."""
