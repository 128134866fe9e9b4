"""Files on disk: embeddings, the run folder and its locks."""
