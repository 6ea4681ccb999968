"""kNN: every note is made of the target's own frames in which a transcriber hears the same; trains nothing.

The musical analogue of kNN-VC (Baas et al. 2023), with the two cures of kNN-SVC (Shao et al. 2025).
"""
