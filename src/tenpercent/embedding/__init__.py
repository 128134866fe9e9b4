"""Vectors from images: a network trained on the labels, a ready model, or any module or function."""
