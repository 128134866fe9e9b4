"""What comes in and what lies on disk: sources of images and vectors, decoding, and the run folder."""
