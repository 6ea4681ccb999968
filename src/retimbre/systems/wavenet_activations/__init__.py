"""Neural style by the activations of a WaveNet: the input codes are optimised, and come out as noise.

Foote, Yang and Rohaninejad 2016, who found white noise and said why.
"""
