"""Resynthesis: a transcriber hears what is played, a network makes it the target's spectrum; any source.

Trained without pairs, on recordings of the targets alone.
"""
