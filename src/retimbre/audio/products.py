"""Overlap-add, resampling and short-time Fourier transforms as products of matrices.

Products are what every device and every exported graph knows: ONNX has neither complex numbers nor soxr.
"""

import math

import numpy as np
import soxr
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

BLOCK = 64  # samples that one row of the resampler's product advances by at least
# Samples at the lower rate that soxr's filter of very high quality reaches: measured 135, to 1e-9.
FILTER_REACH = 160


def overlap_add(rows: Tensor, kernels: Tensor, hop: int) -> Tensor:
    """Frames rows @ kernels.T, summed ``hop`` samples apart: (B, T, C), (n, C) -> (B, (T - 1) * hop + n).

    Part j (``hop`` samples) of every frame is shifted by j frames, which a pad and a cut of the flattened
    rows do at once; then parts are summed. This is faster than torch's fold, and sums in the same order on
    every device.
    """
    (_, frames, _), size = rows.shape, kernels.shape[0]
    parts = -(-size // hop)
    product = rows @ functional.pad(kernels, (0, 0, 0, parts * hop - size)).T
    blocks = product.unflatten(-1, (parts, hop)).transpose(1, 2)
    skewed = functional.pad(blocks, (0, 0, 0, parts)).flatten(1, 2)
    skewed = skewed[:, : parts * (frames + parts - 1)]  # (B, parts * ..., hop)
    return skewed.unflatten(1, (parts, frames + parts - 1)).sum(1).flatten(1)[:, : (frames - 1) * hop + size]


def _fourier(n_fft: int) -> tuple[Tensor, Tensor]:
    """Windowed cosines and sines (n_fft, 2 F), and the weights (2 F,) of bins in the inverse.

    They are made in the graph: stored they would be the larger part of its file.
    """
    places, bins = torch.arange(n_fft), torch.arange(n_fft // 2 + 1)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * places.double() / n_fft)
    angles = 2 * math.pi * (places[:, None] * bins % n_fft).double() / n_fft
    basis = torch.cat([torch.cos(angles), -torch.sin(angles)], 1) * window[:, None]
    alone = (bins == 0) | (2 * bins == n_fft)  # without a mirror image
    weights = torch.where(alone, 1.0, 2.0) / n_fft
    return basis.float(), torch.cat([weights, weights]).float()


def stft(x: Tensor, n_fft: int, hop: int) -> Tensor:
    """:func:`retimbre.audio.spectral.stft` of float32 audio (B, N) -> complex (B, F, T)."""
    basis, _ = _fourier(n_fft)
    end = x.shape[-1] // hop * hop + n_fft - n_fft // 2  # of the last frame
    padded = functional.pad(x, (n_fft // 2, end - x.shape[-1]))
    real, imaginary = (padded.unfold(-1, n_fft, hop) @ basis).transpose(1, 2).chunk(2, 1)
    return torch.complex(real, imaginary)


def istft(X: Tensor, n_fft: int, hop: int, length: int) -> Tensor:
    """:func:`retimbre.audio.spectral.istft` of complex64 (B, F, T) -> audio (B, length)."""
    basis, weights = _fourier(n_fft)
    parts = torch.view_as_real(X)  # (B, F, T, 2)
    rows = torch.cat([parts[..., 0], parts[..., 1]], 1).transpose(1, 2) * weights  # (B, T, 2 F)
    window = basis[:, :1]  # the cosine of 0 Hz is 1
    overlapping = overlap_add(torch.ones_like(rows[:, :, :1]), window.square(), hop)
    middle = slice(n_fft // 2, n_fft // 2 + length)
    return overlap_add(rows, basis, hop)[:, middle] / overlapping[:, middle]


class Resampler(nn.Module):
    """soxr's resampling at very high quality: (B, N) at ``rate`` Hz to (B, N') at ``wanted`` Hz.

    The filter is linear and its phases repeat, so that its answers to impulses are all of it. They differ
    in the first samples, up to 2 % of a recording that starts at once, where soxr begins otherwise. Products
    are in double precision, as soxr's are: what hears down to -100 dB hears rounding.
    """

    def __init__(self, rate: int, wanted: int):
        super().__init__()
        divisor = math.gcd(rate, wanted)
        step = rate // divisor
        blocks = -(-BLOCK // step)
        self.step, self.made, self.ratio = blocks * step, blocks * wanted // divisor, (wanted, rate)
        before = -(-FILTER_REACH * max(rate, wanted) // wanted // self.step)  # blocks
        size = (2 * before + 1) * self.step
        answers = soxr.resample(np.eye(size), rate, wanted, "VHQ")  # (N', N)
        answers = answers[before * self.made : (before + 1) * self.made].T  # (size, made)
        self.before = before * self.step
        self.register_buffer("matrix", torch.from_numpy(answers), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        wanted, rate = self.ratio
        samples = (2 * x.shape[-1] * wanted + rate) // (2 * rate)  # rounded
        blocks = (samples + self.made - 1) // self.made
        behind = (blocks - 1) * self.step + self.matrix.shape[0] - self.before - x.shape[-1]
        rows = functional.pad(x.double(), (self.before, behind)).unfold(-1, self.matrix.shape[0], self.step)
        return (rows @ self.matrix).flatten(1)[:, :samples].float()
