"""Strategies other than the tree, one a file; each takes arrays and returns the positions of the kept images."""
