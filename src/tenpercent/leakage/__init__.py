"""Leaks: test images with a near-duplicate in the training set, their dissimilarities, and the clean test set."""
