"""What a person has decided about images: a log that lasts, and what it means for one set of embeddings."""
