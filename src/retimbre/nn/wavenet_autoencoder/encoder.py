"""Temporal encoder: samples to a code every few milliseconds, by dilated convolutions that see both sides.

Engel et al. 2017 (NSynth) and Mor et al. 2018 (Universal Music Translation) share it: 30 residual layers of
128 channels, dilations 1 to 512 three times, then a mean over 512 or 800 samples. Each code sees what its
layers reach, so codes are local: none describes a whole recording.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn


class ResidualLayer(nn.Module):
    """x + conv1(relu(conv3(x))), dilated; ``relu_first`` puts another ReLU before the first convolution."""

    def __init__(self, channels: int, dilation: int, relu_first: bool):
        super().__init__()
        self.relu_first = relu_first
        self.dilated = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dilated(nnf.relu(x) if self.relu_first else x)
        return x + self.out(nnf.relu(h))


class TemporalEncoder(nn.Module):
    """Companded amplitudes (B, N) to codes (B, T, C), T = N / ``pool``: C numbers for every ``pool`` samples.

    ``relu_first``: the layers of NSynth's code; without it those of the translation network's code.
    """

    def __init__(
        self, layers: int, layers_per_stack: int, channels: int, code_channels: int, pool: int,
        relu_first: bool,
    ):  # fmt: skip
        super().__init__()
        self.dilations = [2 ** (layer % layers_per_stack) for layer in range(layers)]
        self.input = nn.Conv1d(1, channels, 3, padding=1)
        self.layers = nn.Sequential(*(ResidualLayer(channels, d, relu_first) for d in self.dilations))
        self.out = nn.Conv1d(channels, code_channels, 1)
        self.pool = pool

    @property
    def receptive_field(self) -> int:
        """Samples that the code before the mean depends on: 6,141 as published."""
        return 3 + 2 * sum(self.dilations)

    def forward(self, amplitudes: Tensor) -> Tensor:
        h = self.layers(self.input(amplitudes[:, None]))  # B, channels, N
        # The mean commutes with the 1x1 convolution: it is taken first, on fewer frames.
        return self.out(nnf.avg_pool1d(h, self.pool)).transpose(1, 2)  # B, T, C


class DomainClassifier(nn.Module):
    """Domain that codes come from: three 1x1 convolutions with ELU, and the mean over time (Mor et al.)."""

    def __init__(self, code_channels: int, channels: int, domains: int):
        super().__init__()
        widths = [code_channels, channels, channels, channels]
        pairs = zip(widths[:-1], widths[1:], strict=True)
        hidden = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ELU())]
        self.body = nn.Sequential(*hidden, nn.Linear(channels, domains))

    def forward(self, code: Tensor) -> Tensor:
        """Codes (B, T, C) to logits (B, domains)."""
        return self.body(code).mean(1)


def semitones_off(amplitudes: Tensor, semitones: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
    """Audio (B, N) in which a stretch of each row is out of tune: the augmentation of Mor et al. 2018.

    Sample ``starts`` to ``starts + lengths`` (B,) is read faster or slower by ``semitones`` (B,) around its
    middle, so a stretch of half a second that is half a semitone sharp is at most 7 ms off at its ends. As
    published, its ends do not fade. (The published code keeps the duration, by a phase vocoder.)
    """
    n = torch.arange(amplitudes.shape[1])[None]
    middle, within = starts + lengths / 2, (n >= starts[:, None]) & (n < (starts + lengths)[:, None])
    wanted = middle[:, None] + (n - middle[:, None]) * 2 ** (semitones[:, None] / 12)
    place = torch.where(within, wanted, n.to(wanted.dtype)).clamp(0, amplitudes.shape[1] - 1)
    before = place.long().clamp(max=amplitudes.shape[1] - 2)
    share = (place - before).to(amplitudes.dtype)
    return amplitudes.gather(1, before) * (1 - share) + amplitudes.gather(1, before + 1) * share
