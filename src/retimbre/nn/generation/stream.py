"""A WaveNet's matrices as one stream of memory, in the order in which the C++ kernel reads them, in float32 or bfloat16.

A step with one stream of audio is bound by reading the weights, so they are cut into panels of at most 128 columns whose rows follow each
other, without gaps from the first layer's gate to the output. In bfloat16 they are half the bytes and stay near the core: 1.5 times the
speed. (8-bit integers were tried: making floats of them costs what their size gains.)

``rounded`` rounds the matrices as the stream stores them. A ``sampler.State`` keeps the rounded weights, whatever the route, so all
routes give the same samples for the same ``weights``; only the C++ route is faster for it. Biases, the embedding, the
conditioning and all arithmetic stay float32.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.generation.weights import PackedWeights

PANEL = 128  # columns, as in wavenet.cpp
ALIGNMENT = 64  # bytes: one cache line
KINDS = ("float32", "bfloat16")
MATRICES = ("gate", "output", "hidden", "head")


def rounded(packed: PackedWeights, kind: str) -> PackedWeights:
    """The same weights, the matrices rounded to the nearest value of ``kind``. Raises RetimbreError for another kind."""
    if kind not in KINDS:
        raise RetimbreError(f"the weights of the generation must be {' or '.join(KINDS)}, not {kind}.")
    if kind == "float32":
        return packed
    return replace(packed, kind=kind, **{name: getattr(packed, name).bfloat16().float() for name in MATRICES})


def products(packed: PackedWeights) -> Iterator[Tensor]:
    """The matrices of a step in the order of use; of the last layer's output only the skip columns are used."""
    for layer in range(packed.layers):
        yield packed.gate[layer]
        yield packed.output[layer] if layer < packed.layers - 1 else packed.output[layer][:, packed.residual_channels :]
    yield packed.hidden
    yield packed.head


def weight_stream(packed: PackedWeights) -> np.ndarray:
    """The bytes (uint8) that ``wavenet.cpp`` reads; they begin on a cache line."""
    parts = []
    for matrix in products(packed):
        stored = matrix.numpy()
        if packed.kind == "bfloat16":  # two rows in 32 bits: a shift or a mask makes floats of them
            bits = np.ascontiguousarray(stored).view(np.uint32)
            stored = bits[0::2] >> 16 | bits[1::2]
        start, columns, width = 0, stored.shape[1], PANEL
        while start < columns:
            while width > columns - start:
                width //= 2
            parts.append(np.ascontiguousarray(stored[:, start : start + width]).view(np.uint8).ravel())
            start += width
    size = sum(len(part) for part in parts)
    space = np.empty(size + ALIGNMENT, np.uint8)
    offset = -space.ctypes.data % ALIGNMENT
    return np.concatenate(parts, out=space[offset : offset + size])
