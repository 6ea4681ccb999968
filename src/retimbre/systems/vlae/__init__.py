"""Variational lossy autoencoder: Gaussian codes, and a WaveNet too short-sighted to do without them.

Chen et al. 2017, with the decoder that Foote et al. planned for sound.
"""
