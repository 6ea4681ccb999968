"""TiFGAN: log magnitudes of the Gabor transform, heard through phases that they imply.

Marafioti et al. 2019.
"""
