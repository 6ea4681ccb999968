"""WaveGAN: notes as they are, 16,384 samples from transposed convolutions.

Donahue, McAuley and Puckette 2019.
"""
