"""Embeddings of images: by a network trained on the labels, a pretrained model, or any module or function."""
