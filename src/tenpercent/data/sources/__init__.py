"""Sources of images and vectors, and which classes, splits and columns they hold."""
