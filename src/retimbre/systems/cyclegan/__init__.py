"""CycleGAN on log-magnitude spectra: two generators that close a circle, trained without pairs.

Zhu et al. 2017; TimbreTron's and Gupta & Naik's family.
"""
