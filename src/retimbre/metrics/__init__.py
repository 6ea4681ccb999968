"""Metrics of timbre transfer: pure functions of arrays, and a catalogue with one entry for each."""
