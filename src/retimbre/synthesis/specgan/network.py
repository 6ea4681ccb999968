"""The generator of SpecGAN, a DCGAN in two dimensions, with the scale of what it makes.

Frames t = 1 .. T of the STFT of N = T hop samples, of which the last reaches half a window beyond the end;
the first, half of whose window lies before the beginning, is left out.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from retimbre.audio.spectral import griffin_lim, stft
from retimbre.errors import RetimbreError
from retimbre.synthesis.dcgan import DcganConfig, Generator
from retimbre.synthesis.specgan.params import Params

N_FFT, HOP = 256, 128
BINS = N_FFT // 2  # without the top one
LAYERS, KERNEL, STRIDE = 5, 5, 2
WIDTHS = (16, 8, 4, 2, 1)  # channels that the generator's layers read, relative to those of the last
FLOOR = 1e-6  # added to magnitudes
DEVIATIONS = 3  # what lies farther from a bin's mean is clipped
ITERATIONS = 16  # of Griffin and Lim


def config(samples: int, p: Params) -> DcganConfig:
    """The published shape, for notes of some length. Raises RetimbreError for one that has no whole start."""
    places = STRIDE**LAYERS
    if samples % (HOP * places):
        raise RetimbreError(
            f"the notes have {samples} samples: SpecGAN makes a multiple of {HOP * places}, such as 16384."
        )
    widths = tuple(p.channels * width for width in WIDTHS)
    return DcganConfig(
        start=(BINS // places, samples // HOP // places),
        kernel=(KERNEL, KERNEL),
        stride=(STRIDE, STRIDE),
        widths=widths,
        critic_widths=widths[::-1],
        **p.shape,
    )


def log_magnitude(audio: Tensor) -> Tensor:
    """Audio (B, N) to log magnitudes (B, F, N / 128), F = 129."""
    return torch.log(stft(audio, N_FFT, HOP).abs() + FLOOR)[..., 1:]


class SpecGenerator(Generator):
    """Latents (B, Z) to standardised log magnitudes (B, 1, 128, T) in -1..1.

    ``mean`` and ``deviation`` (129,) are those of the training set's bins.
    """

    def __init__(self, config: DcganConfig):
        super().__init__(config)
        self.register_buffer("mean", torch.zeros(BINS + 1))
        self.register_buffer("deviation", torch.ones(BINS + 1))

    def standardise(self, parts: Iterable[Tensor]) -> None:
        """Take mean and deviation of audio, in parts (B, N)."""
        total, squares, count = 0.0, 0.0, 0
        for part in parts:
            spectra = log_magnitude(part).double()
            total, squares = total + spectra.sum((0, 2)), squares + spectra.square().sum((0, 2))
            count += len(spectra) * spectra.shape[2]
        mean = total / count
        self.mean.copy_(mean)
        self.deviation.copy_((squares / count - mean.square()).clamp_min(0).sqrt())

    def encode(self, audio: Tensor) -> Tensor:
        """Audio (B, N) to what the generator makes (B, 1, 128, T)."""
        x = (log_magnitude(audio) - self.mean[:, None]) / (DEVIATIONS * self.deviation[:, None])
        return x[:, None, :BINS].clamp(-1, 1)

    def magnitude(self, x: Tensor) -> Tensor:
        """Magnitudes (B, 129, T) of (B, 1, 128, T): the top bin is its mean."""
        x = F.pad(x[:, 0], (0, 0, 0, 1))
        return torch.exp(x * DEVIATIONS * self.deviation[:, None] + self.mean[:, None])

    def audio(self, x: Tensor) -> Tensor:
        """Audio (B, N) of (B, 1, 128, T): phases begin at zero."""
        magnitude = F.pad(self.magnitude(x), (1, 0), mode="replicate")  # (B, 129, T + 1)
        length = x.shape[-1] * HOP
        return griffin_lim(magnitude, N_FFT, HOP, length, ITERATIONS, 0, torch.zeros_like(magnitude))
