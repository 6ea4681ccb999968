"""A WaveNet's weights as contiguous float32 matrices, shared by every generation route.

Channel counts are padded with zeros to multiples of 16 (a padded channel stays exactly zero through the
gate), so that kernels need no remainder loops; the constant scales of the residual and skip paths are
folded into the matrices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from retimbre.nn.wavenet.network import GatedLayers

MULTIPLE = 16  # floats in the widest vector register
PANEL = 128  # columns, as in wavenet.cpp
ALIGNMENT = 64  # bytes: one cache line


@dataclass(frozen=True)
class PackedWeights:
    """CPU tensors, float32, C-contiguous, input-major (the output channel is the fastest axis)."""

    embedding: Tensor  # (codes, R): the first layer's input for every code that a sample can have
    gate: Tensor  # (L, K R, 2 R): rows [oldest tap ... newest], columns [filter, gate]
    output: Tensor  # (L, R, R + S): columns [residual, skip], scales folded in
    output_bias: Tensor  # (L, R), scale folded in
    skip_bias: Tensor  # (S,): the sum over layers, scale folded in
    hidden: Tensor  # (S, S)
    hidden_bias: Tensor  # (S,)
    head: Tensor  # (S, O): O = 256 logits, or the parameters of a mixture of logistics
    head_bias: Tensor  # (O,)
    projection: Tensor  # (H, L 2 R): conditioning segment -> gates of all layers
    projection_bias: Tensor  # (L 2 R,)
    dilations: np.ndarray  # (L,) int64
    offsets: np.ndarray  # (L + 1,) int64: rows of each layer's ring: (K - 1) * dilation, a power of two
    kernel: int
    residual_scale: float
    mixtures: int = 0  # components of a mixture of logistics on 65536 codes; 0: a softmax over 256 codes

    @property
    def layers(self) -> int:
        return self.gate.shape[0]

    @property
    def residual_channels(self) -> int:
        return self.embedding.shape[1]

    @property
    def ring_rows(self) -> int:
        return int(self.offsets[-1])

    def products(self) -> Iterator[Tensor]:
        """Matrices of a step in the order of use, of the last layer's output the skip columns alone."""
        for layer in range(self.layers):
            yield self.gate[layer]
            last = layer == self.layers - 1
            yield self.output[layer][:, self.residual_channels :] if last else self.output[layer]
        yield self.hidden
        yield self.head

    @cached_property
    def stream(self) -> np.ndarray:
        """The matrices as one stream of float32, as ``wavenet.cpp`` reads them; it begins on a cache line.

        A step with one stream of audio is bound by reading the weights, so they are cut into panels of at
        most 128 columns whose rows follow each other, without gaps from the first layer's gate to the
        output.
        """
        parts = []
        for matrix in self.products():
            start, columns, width = 0, matrix.shape[1], PANEL
            while start < columns:
                while width > columns - start:
                    width //= 2
                parts.append(matrix[:, start : start + width].numpy().ravel())
                start += width
        size = sum(len(part) for part in parts)
        space = np.empty(size + ALIGNMENT // 4, np.float32)
        offset = -space.ctypes.data % ALIGNMENT // 4
        return np.concatenate(parts, out=space[offset : offset + size])


def pack(model: GatedLayers) -> PackedWeights:
    """Copy a model's weights (any device or dtype) into the layout of the kernels."""
    c = model.config
    L, K, R, S, H = c.layers, c.kernel, c.residual_channels, c.skip_channels, c.conditioning_channels
    r, s = (math.ceil(n / MULTIPLE) * MULTIPLE for n in (R, S))  # padded counts

    def get(parameter: Tensor) -> Tensor:
        return parameter.detach().to("cpu", torch.float32)

    gate = torch.zeros(L, K, r, 2, r)
    gate[:, :, :R, :, :R] = get(model.gate_weight).view(L, K, R, 2, R)
    output = torch.zeros(L, r, r + s)
    output[:, :R, :R] = get(model.output_weight)[..., :R] * model.residual_scale
    output[:, :R, r : r + S] = get(model.output_weight)[..., R:] * model.skip_scale
    output_bias = torch.zeros(L, r)
    output_bias[:, :R] = get(model.output_bias)[:, :R] * model.residual_scale
    skip_bias = torch.zeros(s)
    skip_bias[:S] = get(model.output_bias)[:, R:].sum(0) * model.skip_scale
    embedding = torch.zeros(c.codes, r)
    with torch.no_grad():
        device = model.head_hidden.weight.device
        embedding[:, :R] = get(model.input_rows(torch.arange(c.codes, device=device)))
    hidden, hidden_bias = torch.zeros(s, s), torch.zeros(s)
    hidden[:S, :S] = get(model.head_hidden.weight).T
    hidden_bias[:S] = get(model.head_hidden.bias)
    head = torch.zeros(s, c.outputs)
    head[:S] = get(model.head_output.weight).T
    projection, projection_bias = torch.zeros(H, L, 2, r), torch.zeros(L, 2, r)
    projection[..., :R] = get(model.conditioning_projection.weight).T.reshape(H, L, 2, R)
    projection_bias[..., :R] = get(model.conditioning_projection.bias).view(L, 2, R)
    dilations = np.array(c.dilations, np.int64)
    return PackedWeights(
        embedding=embedding,
        gate=gate.view(L, K * r, 2 * r),
        output=output,
        output_bias=output_bias,
        skip_bias=skip_bias,
        hidden=hidden,
        hidden_bias=hidden_bias,
        head=head,
        head_bias=get(model.head_output.bias).clone(),
        projection=projection.view(H, L * 2 * r),
        projection_bias=projection_bias.view(-1),
        dilations=dilations,
        offsets=np.concatenate([[0], np.cumsum((K - 1) * dilations)]).astype(np.int64),
        kernel=K,
        residual_scale=model.residual_scale,
        mixtures=c.mixtures if c.output == "mol" else 0,
    )
