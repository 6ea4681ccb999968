"""Audio to magnitude representations (constant-Q, mel, STFT) and their decibel and normalised scales.

All representations of N samples have T = N // hop_length + 1 frames; frame t is centred on sample t *
hop_length.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.cqt import ConstantQ, cqt_frequencies, quality_factor
from retimbre.audio.spectral import mel_filters, stft
from retimbre.errors import RetimbreError

REPRESENTATIONS = ("cqt", "mel", "stft")
BACKENDS = ("retimbre", "nnaudio", "librosa")
FLOOR = 1e-5  # magnitude; -100 dB


@dataclass(frozen=True)
class FeatureConfig:
    """Everything that decides what the features of a recording are."""

    sample_rate: int  # Hz
    hop_length: int  # samples
    cqt_backend: str  # retimbre | nnaudio | librosa
    cqt_fmin_hz: float
    cqt_bins: int
    cqt_bins_per_octave: int
    stft_n_fft: int  # samples
    mel_bins: int
    range_db: float  # from the top of a representation to its floor

    def bins(self, representation: str) -> int:
        """F of a representation."""
        counts = {"cqt": self.cqt_bins, "mel": self.mel_bins, "stft": self.stft_n_fft // 2 + 1}
        return counts[_known(representation)]

    def frequencies_hz(self, representation: str) -> np.ndarray:
        """Centre frequency of every bin in Hz, shape (F,)."""
        if _known(representation) == "cqt":
            return cqt_frequencies(self.cqt_fmin_hz, self.cqt_bins, self.cqt_bins_per_octave)
        if representation == "stft":
            return np.arange(self.bins("stft")) * self.sample_rate / self.stft_n_fft
        import librosa

        return librosa.mel_frequencies(self.mel_bins + 2, fmin=0.0, fmax=self.sample_rate / 2)[1:-1]

    @property
    def longest_window_s(self) -> float:
        """Seconds of audio that the lowest constant-Q filter hears."""
        return quality_factor(self.cqt_bins_per_octave) / self.cqt_fmin_hz

    def frames(self, samples: int) -> int:
        """T of so many samples."""
        return samples // self.hop_length + 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "FeatureConfig":
        """The inverse of :meth:`to_dict`. Raises RetimbreError when a key is missing or unknown."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            wrong = ", ".join(sorted(set(values) ^ names))
            raise RetimbreError(
                f"The stored feature configuration lacks or does not know {wrong}: run `dvc repro features`."
            )
        return cls(**values)


def _known(representation: str) -> str:
    if representation not in REPRESENTATIONS:
        raise RetimbreError(
            f"The representation {representation!r} is not known: use {', '.join(REPRESENTATIONS)}."
        )
    return representation


def decibels(magnitude: Any) -> Any:
    """20 log10(max(magnitude, 1e-5)), numpy or torch; never below -100 dB."""
    if isinstance(magnitude, Tensor):
        return 20.0 * magnitude.clamp(min=FLOOR).log10()
    return 20.0 * np.log10(np.maximum(magnitude, FLOOR))


def magnitude(db: Any) -> Any:
    """The inverse of :func:`decibels`: 10^(dB / 20), numpy or torch."""
    return 10.0 ** (db / 20.0)


def normalise(db: Any, top_db: float, range_db: float) -> Any:
    """dB -> z in [-1, 1]: top_db is 1, top_db - range_db and everything below is -1; numpy or torch."""
    return (2.0 * (db - top_db) / range_db + 1.0).clip(-1.0, 1.0)


def network_input(db: np.ndarray, top_db: float, range_db: float) -> Tensor:
    """Spectrum (F, T) in dB to the float32 in -1..1 that networks take (:func:`normalise`)."""
    return normalise(torch.from_numpy(np.ascontiguousarray(db, np.float32)), top_db, range_db)


def denormalise(z: Any, top_db: float, range_db: float) -> Any:
    """z -> dB, the inverse of :func:`normalise` within the range."""
    return (z - 1.0) * (0.5 * range_db) + top_db


class FeatureExtractor(nn.Module):
    """Audio (B, N) -> magnitude (B, F, T) on the audio's device; move it with ``.to(device)``.

    The constant-Q backends agree within a few percent; ``retimbre`` is the fastest, ``librosa`` runs on the
    CPU and has no gradient. Raises RetimbreError for a backend or representation that is not known, or a hop
    that does not fit the octaves.
    """

    def __init__(self, config: FeatureConfig):
        super().__init__()
        self.config = config
        if config.cqt_backend not in BACKENDS:
            raise RetimbreError(f"features.cqt_backend is {config.cqt_backend!r}: use {', '.join(BACKENDS)}.")
        size = dict(
            hop_length=config.hop_length, n_bins=config.cqt_bins, bins_per_octave=config.cqt_bins_per_octave
        )
        self.cqt: nn.Module | None = None
        if config.cqt_backend == "retimbre":
            self.cqt = ConstantQ(sample_rate=config.sample_rate, fmin_hz=config.cqt_fmin_hz, **size)
        elif config.cqt_backend == "nnaudio":
            from nnAudio.features import CQT2010v2

            self.cqt = CQT2010v2(
                sr=config.sample_rate, fmin=config.cqt_fmin_hz, pad_mode="constant", verbose=False, **size
            )

    def _cqt(self, x: Tensor) -> Tensor:
        c = self.config
        if c.cqt_backend == "retimbre":
            return self.cqt.magnitude(x)
        if c.cqt_backend == "nnaudio":
            # A whole number of hops makes its frame count predictable in every octave.
            frames = c.frames(x.shape[-1])
            x = nn.functional.pad(x, (0, -x.shape[-1] % c.hop_length))
            return self.cqt(x)[..., :frames]
        import librosa

        size = dict(hop_length=c.hop_length, n_bins=c.cqt_bins, bins_per_octave=c.cqt_bins_per_octave)
        result = np.abs(librosa.cqt(x.detach().cpu().numpy(), sr=c.sample_rate, fmin=c.cqt_fmin_hz, **size))
        return torch.from_numpy(np.ascontiguousarray(result)).to(x)

    def forward(self, audio: Tensor, representation: str) -> Tensor:
        if _known(representation) == "cqt":
            return self._cqt(audio)
        c = self.config
        result = stft(audio, c.stft_n_fft, c.hop_length).abs()
        if representation == "mel":
            return mel_filters(c.sample_rate, c.stft_n_fft, c.mel_bins).to(result) @ result
        return result

    decibels = staticmethod(decibels)
    magnitude = staticmethod(magnitude)


_extractors: dict[FeatureConfig, FeatureExtractor] = {}


@torch.no_grad()
def spectrum_of(audio: np.ndarray, config: FeatureConfig, representation: str) -> np.ndarray:
    """Spectrum in dB (F, T) of audio (N,).

    A process keeps one extractor per configuration: building one takes as long as using it.
    """
    if config not in _extractors:
        _extractors[config] = FeatureExtractor(config)
    x = torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None]
    return decibels(_extractors[config](x, representation))[0].numpy()
