"""Sections ``audio`` and ``features``: how recordings are prepared."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retimbre.section import Count, Positive, Section


class Audio(Section):
    sample_rate: Annotated[int, Field(ge=4000, le=192000)]
    rms: Annotated[float, Field(gt=0, le=0.5)]
    max_excerpt_s: Annotated[float, Field(ge=2)]
    trim_db: Positive
    shard_mb: Count


class Features(Section):
    hop_length: Count
    cqt_backend: Literal["retimbre", "nnaudio", "librosa"]
    cqt_fmin_hz: Positive
    cqt_bins: Count
    cqt_bins_per_octave: Count
    stft_n_fft: Annotated[int, Field(ge=64)]
    mel_bins: Count
    range_db: Annotated[float, Field(ge=20, le=120)]

    @model_validator(mode="after")
    def _divisible(self) -> "Features":
        octaves = -(-self.cqt_bins // self.cqt_bins_per_octave)
        step = max(4, 2 ** (octaves - 1))  # the WaveNet's conditioning changes four times a frame
        if self.hop_length % step:
            below, above = self.hop_length // step * step, (self.hop_length // step + 1) * step
            allowed = f"{above}" if below == 0 else f"{below} or {above}"
            raise ValueError(
                f"features.hop_length must be a multiple of {step} ({octaves} octaves are computed at "
                f"half-rates): use {allowed}"
            )
        if self.stft_n_fft < 2 * self.hop_length - 1:  # 511 has the bins and the overlap of 512
            raise ValueError(
                f"features.stft_n_fft must be at least twice features.hop_length ({2 * self.hop_length})"
            )
        return self
