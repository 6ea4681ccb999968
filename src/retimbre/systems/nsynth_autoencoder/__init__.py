"""NSynth's WaveNet autoencoder: codes of the sound of every 32 ms, played by one WaveNet told the instrument.

Engel et al. 2017. Its spectral baseline is ``nsynth_autoencoder.model: spectral``.
"""
