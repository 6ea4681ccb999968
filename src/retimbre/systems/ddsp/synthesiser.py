"""Additive synthesis and filtered noise, differentiable by all but the pitch.

Shapes: B batch, T frames, K harmonics, M noise bands, N = (T - 1) * hop samples.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def exp_sigmoid(x: Tensor) -> Tensor:
    """DDSP's positive controls: 2 * sigmoid(x)^ln 10 + 1e-7."""
    return 2 * torch.sigmoid(x) ** math.log(10) + 1e-7


def phase(f0_hz: Tensor, hop: int, sample_rate: int) -> Tensor:
    """Phase in radians (B, T - 1, hop) of a pitch (B, T) that glides from frame to frame."""
    along = torch.arange(hop, device=f0_hz.device, dtype=torch.float64) / hop
    hz = torch.lerp(f0_hz[:, :-1, None].double(), f0_hz[:, 1:, None].double(), along)
    turns = (hz / sample_rate).flatten(1).cumsum(1) % 1  # in float64: it grows over the whole piece
    return (2 * math.pi * turns).float().view_as(hz)


def harmonic(f0_hz: Tensor, amplitude: Tensor, distribution: Tensor, hop: int, sample_rate: int) -> Tensor:
    """Audio (B, N) of a pitch (B, T), its amplitude (B, T) and positive shares of partials (B, T, K).

    Partials above half the sample rate are silent; the shares of the others add up to 1.
    """
    number = torch.arange(1, distribution.shape[-1] + 1, device=f0_hz.device)
    shares = distribution * (f0_hz[..., None] * number < sample_rate / 2)
    shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-7)
    levels = amplitude[..., None] * shares  # (B, T, K)
    sines = (phase(f0_hz, hop, sample_rate)[..., None] * number).sin()  # (B, T - 1, hop, K)
    with torch.autocast(f0_hz.device.type, enabled=False):  # audio has more than the 8 bits of bfloat16
        first, second = ((sines @ of[..., None])[..., 0] for of in (levels[:, :-1], levels[:, 1:]))
    along = torch.arange(hop, device=f0_hz.device) / hop
    return torch.lerp(first, second, along).flatten(1)


def filtered_noise(magnitudes: Tensor, noise: Tensor, hop: int) -> Tensor:
    """Audio (B, N): noise (B, N) whose spectrum is given by bands (B, T, M), by frequency sampling.

    Every frame's filter is the inverse transform of its bands with linear phase, under a Hann window.
    """
    between = (magnitudes[:, :-1] + magnitudes[:, 1:]) / 2  # of the samples from a frame to the next
    half = magnitudes.shape[-1] - 1
    response = torch.fft.irfft(between.float()).roll(half, -1) * torch.hann_window(
        2 * half, device=noise.device
    )
    size = hop + 2 * half
    parts = torch.fft.rfft(noise.view(len(noise), -1, hop), size) * torch.fft.rfft(response, size)
    parts = torch.fft.irfft(parts, size).transpose(1, 2)  # (B, size, T - 1)
    length = noise.shape[1] + 2 * half
    laid = functional.fold(parts, (1, length), (1, size), stride=(1, hop))[:, 0, 0]
    return laid[:, half : half + noise.shape[1]]
