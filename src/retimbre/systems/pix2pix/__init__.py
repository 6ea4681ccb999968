"""pix2pix on log-magnitude spectra: the CycleGAN's networks on pairs (Isola et al. 2017), the bound of what
they reach.
"""
