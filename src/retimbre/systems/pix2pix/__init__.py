"""pix2pix on log-magnitude spectra: the CycleGAN's networks on pairs, the bound of what they reach.

Isola et al. 2017.
"""
