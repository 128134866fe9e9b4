"""Other ways than the tree to choose which images stay, one a file; each takes arrays and returns positions."""
