"""Sources of images and vectors, decoding, and the run folder."""
