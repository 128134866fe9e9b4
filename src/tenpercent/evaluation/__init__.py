"""Evaluation of a selection: train from scratch on the kept images, on random subsets and on the full set."""
