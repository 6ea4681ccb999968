"""Universal Music Translation: one encoder that hides the instrument, a WaveNet decoder for every instrument.

Mor, Wolf, Polyak and Taigman 2019.
"""
