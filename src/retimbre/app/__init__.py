"""The web page of ``retimbre app``: a recording in, the same music on another instrument, side by side."""
