"""CycleGAN on log-magnitude spectra: unpaired, one direction each way (Zhu et al. 2017; TimbreTron's and
Gupta & Naik's family).
"""
