"""Image fooling: gradient ascent on a classifier's answer, until it takes the spectrum for the target.

Foote, Yang and Rohaninejad 2016 on raw audio, whose results sounded like white noise on the source.
"""
