"""Command line: the parser, the commands, and their output."""
