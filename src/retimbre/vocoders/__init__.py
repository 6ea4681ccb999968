"""Vocoders: log-magnitude spectra to audio. One folder per trained network; ``base`` is their contract."""
