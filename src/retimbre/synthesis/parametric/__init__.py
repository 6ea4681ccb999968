"""Harmonics under an instrument's mean spectral envelope, with its mean decay: no network."""
