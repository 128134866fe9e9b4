"""What is on disk: embeddings, the run folder, its locks."""
