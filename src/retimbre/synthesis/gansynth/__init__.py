"""GANSynth: notes of a chosen pitch from noise, as log magnitude and instantaneous frequency.

Engel et al. 2019; grown from coarse pictures to fine ones, Karras et al. 2018.
"""
