"""The proof: train from scratch on what is kept, beside random subsets and the full set."""
