"""Test images that have a twin in the training set: which, how near, and the test set without them."""
