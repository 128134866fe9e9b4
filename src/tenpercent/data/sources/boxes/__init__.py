"""Images with boxes drawn in them: annotation files as sources of images or of objects."""
