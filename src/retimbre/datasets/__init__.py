"""Recordings: their sources, how they are packed on disk, and how training reads them."""
