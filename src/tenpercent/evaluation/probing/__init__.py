"""Comparison of embeddings by how well they separate classes: accuracies on unseen images, side by side."""
