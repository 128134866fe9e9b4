"""Decoding of files to pixels, with a check that the image is complete."""
