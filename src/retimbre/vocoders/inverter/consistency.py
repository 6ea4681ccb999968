"""Correction of predicted STFT levels by the spectrum that they were predicted from.

A network misses notes that it was not trained on, and puts others in their place. But an STFT's power says
what its constant-Q (or mel) spectrum is. Where the given spectrum has more, power is raised; where it has
less, power is lowered: a few steps of Richardson (1972) and Lucy (1974). The network says the rest: where
the partials lie inside a bin, what is outside the range of the bins, and what differs by a few dB.

Networks are trained without it, and small corrections are not made: systems make spectra that no sound has,
and their music is nearer to the true target (by 0.4 to 0.8 dB of paired LSD) where the network has the say.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.audio.cqt import kernel_lengths, quality_factor
from retimbre.audio.features import FeatureConfig, denormalise
from retimbre.audio.spectral import mel_filters

STEPS = 3
# Half of such a difference is mended, and more of a larger one: in noise the two spectra differ by chance.
TOLERANCE_DB = 2.0
# Half of such a correction is made, hardly anything of a smaller one, nearly all of a larger one.
SMALL_DB = 16.0
LOWEST_DB, HIGHEST_DB = -120.0, 60.0  # an untrained network may say anything
SEEN = 0.25  # of the usual response to an STFT bin; with less of it the network has a say
FINE = 32  # frequencies per STFT bin at which a response is computed
REACH = 4  # STFT bins on each side of a tone that have its power
LOBE = 0.25  # power of a tone in the bins beside its own
HANN_POWER = 1.5  # of a tone in a Hann window: sum over all bins, 1 in its own
HANN_DEVIATION = 0.1414  # standard deviation of a squared Hann window, in window lengths


class Measured(NamedTuple):
    """Relation of a spectrum's bins to an STFT.

    ``response`` (F, K): what power (or magnitude) of 1 gives in a bin, over the bin's ``gain_db`` (F, 1).
    ``scale``: 10 for power, 20 for magnitude. ``aside`` (F, 1): share of either neighbouring frame in what
    the STFT's longer window hears.
    """

    response: np.ndarray
    gain_db: np.ndarray
    scale: float
    aside: np.ndarray


def hann_power(offset: np.ndarray) -> np.ndarray:
    """Power of a Hann window's spectrum, 1 at its middle; ``offset`` from there, window length 1."""
    offset = np.where(np.abs(np.abs(offset) - 1) < 1e-6, 1 + 1e-6, offset)
    return (np.sinc(offset) / (1 - offset**2)) ** 2


def around_a_tone(x: Tensor) -> Tensor:
    """(B, K, T) with a share of the neighbouring bins, as they share a tone."""
    return x + LOBE * (F.pad(x, (0, 0, 1, 0))[:, :-1] + F.pad(x, (0, 0, 0, 1))[:, 1:])


def constant_q(config: FeatureConfig, n_fft: int) -> Measured:
    """Constant-Q bins of tones and of noise, by the power of an STFT with windows of ``n_fft`` samples."""
    frequencies, q = config.frequencies_hz("cqt")[:, None], quality_factor(config.cqt_bins_per_octave)
    lengths = kernel_lengths(frequencies, q, config.sample_rate)  # (F, 1) samples
    fine = np.arange(-REACH * FINE, (n_fft // 2 + REACH) * FINE + 1) * config.sample_rate / (n_fft * FINE)
    of_tones = torch.from_numpy(hann_power((fine - frequencies) * lengths / config.sample_rate))
    spread = torch.from_numpy(hann_power(np.arange(-REACH * FINE, REACH * FINE + 1) / FINE))
    response = F.conv1d(of_tones[:, None], spread[None, None] / spread.sum(), stride=FINE)[:, 0].numpy()
    aside = HANN_DEVIATION**2 * np.maximum(n_fft**2 - lengths**2, 0) / (2 * config.hop_length**2)
    # A tone of amplitude a has power a^2 n_fft^2 / 16 in its STFT bin and a^2 L / 4 in its constant-Q bin.
    return Measured(
        response / (HANN_POWER * n_fft**2 / 4),
        10 * np.log10(lengths),
        10.0,
        np.minimum(aside, 1 / 3),  # of three frames
    )


def mel(config: FeatureConfig, n_fft: int) -> Measured:
    """Mel bands by the magnitude of an STFT with windows of ``n_fft`` samples."""
    filters = mel_filters(config.sample_rate, n_fft, config.mel_bins).numpy() * config.stft_n_fft / n_fft
    peak = filters.max(1, keepdims=True)
    return Measured(filters / peak, 20 * np.log10(peak), 20.0, np.zeros_like(peak))


MEASURED = {"cqt": constant_q, "mel": mel}


class Consistency(nn.Module):
    """STFT levels made to agree with a spectrum.

    Args:
        config: of the features.
        representation: cqt or mel.
        n_fft: of the STFT, samples.
        top_db: of the spectrum, where z is 1.
    """

    def __init__(self, config: FeatureConfig, representation: str, n_fft: int, top_db: float):
        super().__init__()
        self.top_db, self.range_db = top_db, config.range_db
        of = MEASURED[representation](config, n_fft)
        self.scale = of.scale
        seen = of.response.sum(0)
        weights = (of.response / np.maximum(seen, SEEN * np.median(seen))).T
        arrays = {"response": of.response, "gain_db": of.gain_db, "aside": of.aside}
        arrays |= {"weights": weights, "unseen": 1 - weights.sum(1, keepdims=True)}  # (K, F), (K, 1)
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array).float(), persistent=False)

    def forward(self, level_db: Tensor, z: Tensor) -> Tensor:
        """``level_db`` (B, K, T) as predicted from the spectrum ``z`` (B, F, T) in -1..1: (B, K, T)."""
        given = self._over_gain(denormalise(z, self.top_db, self.range_db))
        around = F.pad(given, (1, 1), "replicate")
        given = (1 - 2 * self.aside) * given + self.aside * (around[..., 2:] + around[..., :-2])
        floor = self._over_gain(self.top_db - self.range_db)  # what lies below is not known
        least = 10 ** (LOWEST_DB / self.scale)
        said = level_db.clamp(LOWEST_DB, HIGHEST_DB)
        power = 10 ** (said / self.scale)
        for _ in range(STEPS):
            missing_db = self.scale * (given / (self.response @ power).maximum(floor)).log10()
            missing_db = missing_db**3 / (missing_db**2 + TOLERANCE_DB**2)
            mended = power * (self.weights @ 10 ** (missing_db / self.scale) + self.unseen)
            power = (power * around_a_tone(mended) / around_a_tone(power)).clamp(min=least)
        change = self.scale * power.log10() - said
        return said + change**5 / (change**4 + SMALL_DB**4)

    def _over_gain(self, db: Tensor | float) -> Tensor:
        """Levels in dB as power (or magnitude) over the bins' gain."""
        return 10 ** ((db - self.gain_db) / self.scale)


def consistency_of(config: Mapping[str, Any], n_fft: int) -> Consistency | None:
    """Consistency with the spectra of a vocoder's stored configuration; None for those of the STFT itself."""
    representation = config["representation"]
    if representation not in MEASURED:
        return None
    return Consistency(FeatureConfig.from_dict(config["features"]), representation, n_fft, config["top_db"])
