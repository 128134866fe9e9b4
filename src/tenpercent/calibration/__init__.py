"""A threshold from a person's answers: are two images the same for a purpose?"""
