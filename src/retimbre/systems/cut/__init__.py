"""CUT on log-magnitude spectra: one-sided contrastive translation, without cycles.

Park, Efros, Zhang and Zhu, "Contrastive learning for unpaired image-to-image translation", 2020.
"""
