"""The sections of data: where recordings come from, their audio, their features."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from retimbre.params.base import Count, DomainName, JoblibBackend, NonNegative, Positive, Section, Share

# What `dataset.source` may name; the adapters of the published ones are in datasets/sources (a test compares).
LOCAL_SOURCES = ("soundfont", "folder")
SOURCES = LOCAL_SOURCES + tuple(
    "fma fma_large fma_medium good_sounds guitarset guitarset_mix irmas irmas_testing maestro maestro_v2 magnatagatune medley_solos_db "
    "musicnet nsynth nsynth_gansynth tinysol urmp vctk vctk_mic2 youtube".split()
)


class Dataset(Section):
    source: str | dict[DomainName, str]
    domains: Annotated[list[DomainName], Field(min_length=2)]
    train_minutes: NonNegative
    validation_pieces: Count
    test_pieces: Count
    excerpt_s: Positive
    polyphonic_share: Share
    paired_training: bool
    soundfont: str | None
    folders: dict[DomainName, str]
    max_unreadable_share: Share
    limit_hours: NonNegative
    archives: str | None
    downloads: Annotated[int, Field(ge=1, le=16)]
    keep_archives: bool
    youtube: dict[DomainName, Annotated[list[str], Field(min_length=1)]]

    @field_validator("source", mode="before")
    @classmethod
    def _known(cls, source: Any) -> Any:
        for name in source.values() if isinstance(source, dict) else [source]:
            if name not in SOURCES:
                raise ValueError(
                    f"dataset.source names {name!r}: use one of {', '.join(SOURCES)}, or one per domain: {{piano: maestro, ...}}"
                )
        return source

    @model_validator(mode="after")
    def _sources(self) -> "Dataset":
        if len(set(self.domains)) != len(self.domains):
            raise ValueError("dataset.domains names a domain twice: give different ones")
        if isinstance(self.source, dict) and (missing := [d for d in self.domains if d not in self.source]):
            raise ValueError(f"dataset.source has no entry for {missing[0]!r}: add `{missing[0]}: folder` or another source")
        of_domain = self.source_of
        if missing := [d for d in self.domains if of_domain[d] == "folder" and d not in self.folders]:
            raise ValueError(f"dataset.folders has no entry for {missing[0]!r}: add `{missing[0]}: /path/of/its/recordings`")
        if missing := [d for d in self.domains if of_domain[d] == "youtube" and d not in self.youtube]:
            raise ValueError(f"dataset.youtube has no entry for {missing[0]!r}: add `{missing[0]}: [address of a video or playlist, ...]`")
        if "soundfont" in of_domain.values() and self.train_minutes == 0:
            raise ValueError("dataset.train_minutes must be above 0 for source soundfont")
        if self.paired_training and set(of_domain.values()) != {"soundfont"}:
            raise ValueError("dataset.paired_training: only source soundfont plays every piece on all domains: set it to false")
        return self

    @property
    def source_of(self) -> dict[str, str]:
        """The source of each domain, in the domains' order."""
        return {domain: self.source[domain] if isinstance(self.source, dict) else self.source for domain in self.domains}


class Audio(Section):
    sample_rate: Annotated[int, Field(ge=4000, le=192000)]
    rms: Annotated[float, Field(gt=0, le=0.5)]
    max_excerpt_s: Annotated[float, Field(ge=2)]
    trim_db: Positive
    shard_mb: Count
    jobs: Count
    joblib_backend: JoblibBackend


class Features(Section):
    hop_length: Count
    cqt_backend: Literal["retimbre", "nnaudio", "librosa"]
    cqt_fmin_hz: Positive
    cqt_bins: Count
    cqt_bins_per_octave: Count
    stft_n_fft: Annotated[int, Field(ge=64)]
    mel_bins: Count
    range_db: Annotated[float, Field(ge=20, le=120)]
    jobs: Count
    joblib_backend: JoblibBackend

    @model_validator(mode="after")
    def _divisible(self) -> "Features":
        octaves = -(-self.cqt_bins // self.cqt_bins_per_octave)
        step = max(4, 2 ** (octaves - 1))  # the WaveNet's conditioning changes four times a frame
        if self.hop_length % step:
            below, above = self.hop_length // step * step, (self.hop_length // step + 1) * step
            allowed = f"{above}" if below == 0 else f"{below} or {above}"
            raise ValueError(
                f"features.hop_length must be a multiple of {step} ({octaves} octaves are computed at half-rates): use {allowed}"
            )
        if self.stft_n_fft < 2 * self.hop_length - 1:  # 511 has the bins and the overlap of 512
            raise ValueError(f"features.stft_n_fft must be at least twice features.hop_length ({2 * self.hop_length})")
        return self
