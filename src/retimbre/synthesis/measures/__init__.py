"""Measures of generated notes: a network that hears pitch and instrument, and what is counted with it."""
