"""Decisions of a person about images: a persistent log, and its effect on a set of embeddings."""
