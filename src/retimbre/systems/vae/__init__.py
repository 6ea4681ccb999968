"""Variational autoencoder of spectra: a Gaussian code that pays for its bits, a decoder per instrument.

Kingma & Welling 2014.
"""
