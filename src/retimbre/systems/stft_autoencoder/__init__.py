"""STFT autoencoder: frames with their context through a narrow code, out of the target's decoder.

Gabrielli, Cella et al. 2018 (autoXsynth).
"""
