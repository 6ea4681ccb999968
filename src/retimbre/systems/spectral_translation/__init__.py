"""Spectral translation: a generator of spectra that hides the instrument, a WaveNet for each that plays it.

Yoon 2019 (dissertation, Cambridge), its own model.
"""
