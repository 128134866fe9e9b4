"""Which embedding tells classes apart: accuracies on images that none of them has seen, side by side."""
