"""From the bytes of a file to pixels, with a verdict whether the image is whole."""
