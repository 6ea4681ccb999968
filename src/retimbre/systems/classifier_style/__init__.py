"""Neural style by a classifier's layers: their activations are the content, their Gram matrices the style.

Gatys, Ecker and Bethge 2016 on pictures; Foote, Yang and Rohaninejad 2016 on raw audio.
"""
