"""Transfer systems: audio in, the same music on another instrument out. ``base`` is their contract."""
