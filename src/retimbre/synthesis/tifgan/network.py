"""Shape of TiFGAN's networks, and the pictures (B, C, 256, T) that they make.

C = 1: log magnitude alone (TiFGAN-M). C = 3: with the phase's derivatives in time and in frequency (MTF).
"""

import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.synthesis import gabor
from retimbre.synthesis.dcgan import DcganConfig
from retimbre.synthesis.tifgan.params import Params

BINS = gabor.CHANNELS // 2  # without the top one
LAYERS, KERNEL, STRIDE = 5, (12, 3), 2
WIDTHS = (8, 8, 4, 2, 1)  # channels that the generator's layers read, relative to those of the last
CRITIC_WIDTHS = (1, 2, 4, 8, 16)
STEEPEST = 2.0  # channels and hops: what a derivative is divided by and clipped at


def config(samples: int, p: Params) -> DcganConfig:
    """The published shape, for notes of some length. Raises RetimbreError for one that has no whole start."""
    places = STRIDE**LAYERS
    if samples % (gabor.HOP * places):
        raise RetimbreError(
            f"the notes have {samples} samples: TiFGAN makes a multiple of {gabor.HOP * places}, such as "
            "16384."
        )
    return DcganConfig(
        start=(BINS // places, samples // gabor.HOP // places),
        kernel=KERNEL,
        stride=(STRIDE, STRIDE),
        widths=tuple(p.channels * width for width in WIDTHS),
        critic_widths=tuple(p.channels * width for width in CRITIC_WIDTHS),
        channels=3 if p.variant == "mtf" else 1,
        **p.shape,
        normalised=True,
    )


def encoded(audio: Tensor, derivatives: bool) -> Tensor:
    """Audio (B, N) to pictures in -1..1."""
    level = 1 - 2 * gabor.log_magnitude(audio)[:, None] / gabor.FLOOR  # (B, 1, F, T)
    if not derivatives:
        return level
    return torch.cat([level, (gabor.derivatives(audio) / STEEPEST).clamp(-1, 1)], 1)


def levels(x: Tensor) -> Tensor:
    """Log magnitudes (B, 256, T) of pictures, relative to the loudest."""
    return (1 - x[:, 0]) / 2 * gabor.FLOOR


def decoded(x: Tensor) -> Tensor:
    """Audio (B, N), of peak 1, of pictures. Phases where nothing can be heard are noise, the same in each."""
    level = levels(x)
    slopes = STEEPEST * x[:, 1:] if x.shape[1] > 1 else gabor.derivatives_of(level)
    chance = (torch.Generator().manual_seed(0) for _ in x)
    heard = zip(level.split(1), slopes.split(1), chance, strict=True)
    return torch.cat([gabor.invert(*one) for one in heard])
