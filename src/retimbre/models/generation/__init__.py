"""Sampling from a WaveNet sample by sample: ``sampler.generate`` is the way in, ``long.generate_long`` for long files.

``weights`` packs a model once; ``eager`` (torch, the reference), ``numba_kernel`` (the default) and ``cpp_kernel``
(optional) run the same loop on the same packed weights and the same state.
"""
