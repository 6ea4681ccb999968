"""Waveform ↔ representation. Pure signal processing: nothing here knows of learning."""
