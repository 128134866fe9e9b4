"""Heads on frozen vectors: a proof in minutes, beside that by networks trained from scratch."""
