"""From merges to a selection: the cut, its groups, and the representative of each."""
