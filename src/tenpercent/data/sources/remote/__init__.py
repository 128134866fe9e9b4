"""Sources in object stores and at web addresses, read through fsspec."""
