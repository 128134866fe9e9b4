"""Tasks, each a function from named files to one file, and where they are done."""
