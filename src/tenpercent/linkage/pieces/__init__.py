"""Complete linkage of more vectors than fit into memory, in pieces: functions from files to one file.

    vectors ─ hash_rows, equal_rows ─> points ─ look ─> radius ─ homes ─> cells ─ route ─> groups of cells
    a group of cells ─ join ─> pairs ─ split ─> shares of components ─ walk_share ─> merges

Each is called with the files it reads and the one it writes, and settings by name; `tree/together.py` calls them.
Positions are those in the file of vectors, everywhere.
"""
