"""DDSP: a harmonic and filtered-noise synthesiser that pitch and loudness drive, for single lines.

Engel, Hantrakul, Gu and Roberts, "DDSP: differentiable digital signal processing", 2020. No reverb.
"""
