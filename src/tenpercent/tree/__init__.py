"""The merges of a run: where they are cut, how they grow, and what they say."""
