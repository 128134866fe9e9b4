"""From merges to a selection: the cut, the groups, the image kept of each, and why."""
