"""SpecGAN: log-magnitude spectra as pictures, heard through Griffin and Lim's phases.

Donahue, McAuley and Puckette 2019.
"""
