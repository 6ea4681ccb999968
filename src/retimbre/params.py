"""A typed, validated view of ``params.yaml``; the only place that knows its keys.

``load("seed", "model")`` reads the file once, checks *everything* in it and hands out only the
sections named: a stage that reads a section which ``dvc.yaml`` does not list for it fails in the
test that compares the two, and one that reads an unnamed section fails at once.

Units stand in ``params.yaml``'s comments and in the names (``_hz``, ``_s``, ``_db``).
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from retimbre.errors import RetimbreError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Representation = Literal["cqt", "mel", "stft"]
# Those of systems.vocoder_parts.KINDS (a test compares).
VocoderKind = Literal["source_phase", "griffin_lim", "istft", "wavenet", "wavenet_excited"]
Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["32-true", "bf16-mixed"]
JoblibBackend = Literal["loky", "threading", "dask"]
DomainName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
# What `dataset.source` may name; the adapters of the published ones are in datasets/sources (a test compares).
LOCAL_SOURCES = ("soundfont", "folder")
SOURCES = LOCAL_SOURCES + tuple(
    "fma fma_large fma_medium good_sounds guitarset guitarset_mix irmas irmas_testing maestro maestro_v2 magnatagatune medley_solos_db "
    "musicnet nsynth nsynth_gansynth tinysol urmp vctk vctk_mic2 youtube".split()
)
# What `model.discriminator` may name, one or several; models/discriminators.py builds them (a test compares).
DISCRIMINATORS = ("full_spectrum", "patch", "conv1d", "spectrogram", "temporal")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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


class Classifier(Section):
    representation: Representation
    channels: Count
    window_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate: Positive
    gain_jitter_db: NonNegative
    noise_db: NonNegative
    log_every: Count
    checkpoint_every: Count
    accelerator: Accelerator
    precision: Precision


class Model(Section):
    method: Literal["cyclegan", "pix2pix"]
    representation: Representation
    generator: Literal["resnet1d", "resnet2d", "unet", "dissertation"]
    generator_channels: Count
    generator_blocks: Annotated[int, Field(ge=1, le=32)]
    upsampling: Literal["nearest", "transposed"]
    residual_output: bool
    change_limit: NonNegative
    start_at_eq: bool
    discriminator: str | list[str]
    discriminator_channels: Annotated[int, Field(ge=4, multiple_of=4)]
    discriminator_scales: Annotated[int, Field(ge=1, le=3)]
    discriminator_noise: NonNegative
    spectral_norm: bool
    gan_loss: Literal["lsgan", "nonsaturating", "hinge", "wgan_gp"]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]
    lambda_adversarial: NonNegative
    lambda_cycle: NonNegative
    lambda_identity: NonNegative
    identity_until: NonNegative
    lambda_feature_matching: NonNegative
    lambda_content: NonNegative
    lambda_gradient_penalty: NonNegative
    lambda_l1: NonNegative
    discriminator_steps: Count
    pool_size: Natural
    crop_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate_generator: Positive
    learning_rate_discriminator: Positive
    adam_beta1: Annotated[float, Field(ge=0, lt=1)]
    decay_from: Share
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    ema_warmup: Positive
    log_every: Count
    checkpoint_every: Count
    accelerator: Accelerator
    precision: Precision
    devices: Count
    nodes: Count
    compile: bool
    guard_action: Literal["stop", "warn"]
    guard_balance: bool
    select: Literal["last", "best"]

    @field_validator("discriminator", mode="before")
    @classmethod
    def _judges(cls, given: Any) -> Any:
        names = given if isinstance(given, list) else [given]
        if not names or any(name not in DISCRIMINATORS for name in names) or len(set(names)) != len(names):
            raise ValueError(f"model.discriminator is {given!r}: use one of {', '.join(DISCRIMINATORS)}, or a list of different ones")
        return given

    @model_validator(mode="after")
    def _losses(self) -> "Model":
        if self.gan_loss == "wgan_gp" and self.lambda_gradient_penalty == 0:
            raise ValueError("model.lambda_gradient_penalty must be above 0 for gan_loss wgan_gp: use 10, as published")
        if self.label_smoothing and self.gan_loss not in ("lsgan", "nonsaturating"):
            raise ValueError(f"model.label_smoothing: gan_loss {self.gan_loss} has no label to smooth, so set it to 0")
        if self.lambda_content and self.representation != "cqt":
            raise ValueError("model.lambda_content folds CQT bins to pitch classes: set it to 0 for other representations")
        return self


class Vocoder(Section):
    representation: Representation
    kind: VocoderKind
    kinds: Annotated[list[VocoderKind], Field(min_length=1)]
    inverter_channels: Count
    inverter_blocks: Count
    inverter_steps: Count
    inverter_batch_size: Count
    inverter_crop_frames: Annotated[int, Field(ge=8)]
    inverter_learning_rate: Positive
    inverter_band_weight: NonNegative
    griffin_lim_iterations: Natural
    low_band_hops: Annotated[float, Field(ge=0)]
    low_band_iterations: Natural
    istft_n_fft: Annotated[int, Field(ge=64)]
    istft_projections: Natural
    istft_steps: Count
    istft_batch_size: Count
    istft_crop_frames: Annotated[int, Field(ge=16)]
    istft_learning_rate: Positive
    istft_adversarial: bool
    istft_lambda_adversarial: NonNegative
    istft_lambda_feature_matching: NonNegative
    wavenet_layers: Count
    wavenet_layers_per_stack: Annotated[int, Field(ge=1, le=14)]
    wavenet_kernel: Literal[2, 3]
    wavenet_residual_channels: Annotated[int, Field(ge=4)]
    wavenet_skip_channels: Count
    wavenet_conditioning_channels: Count
    wavenet_input: Literal["codes", "scalar"]
    wavenet_output: Literal["softmax", "mol"]
    wavenet_mixtures: Count
    wavenet_upsampling: Literal["nearest", "linear", "transposed"]
    wavenet_context_layers: Annotated[int, Field(ge=0, le=14)]
    wavenet_context_channels: Count
    wavenet_reverse: bool
    wavenet_preemphasis: Annotated[float, Field(ge=0, lt=1)]
    wavenet_gain: Positive
    wavenet_steps: Count
    wavenet_batch_size: Count
    wavenet_crop_frames: Count
    wavenet_silence_db: Annotated[float, Field(ge=-200, le=0)]
    wavenet_ema_decay: Annotated[float, Field(ge=0, lt=1)]
    wavenet_learning_rate: Positive
    wavenet_temperature: Positive
    wavenet_beams: Annotated[int, Field(ge=1, le=64)]
    wavenet_beam_step: Annotated[int, Field(ge=16)]
    excited_iterations: Natural
    excited_minutes: Positive
    excited_segment_frames: Count
    excited_mixtures: Count
    excited_lambda_spectral: NonNegative
    excited_steps: Count
    excited_temperature: Annotated[float, Field(ge=0, le=2)]
    log_every: Count
    checkpoint_every: Count
    accelerator: Accelerator
    precision: Precision
    devices: Count
    nodes: Count
    compile: bool

    @model_validator(mode="after")
    def _kinds(self) -> "Vocoder":
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError("vocoder.kinds names a kind twice: give each once")
        if self.kind not in self.kinds:
            raise ValueError(f"vocoder.kinds must name vocoder.kind ({self.kind}): the default audio is made by it")
        if self.wavenet_output == "mol" and self.wavenet_input != "scalar":
            raise ValueError("vocoder.wavenet_output mol needs vocoder.wavenet_input scalar: 65536 codes have no embedding")
        return self


class Evaluate(Section):
    slow_items: Natural
    jobs: Count
    cache_mb: NonNegative
    audio_examples: Natural
    bootstrap: Annotated[int, Field(ge=100)]

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if isinstance(values, dict) and "route" in values:
            raise ValueError("evaluate.route is now vocoder.kind, the default audio: move its value there")
        return values


class Baselines(Section):
    systems: list[Literal["cepstral", "mosaicing", "musaicing", "gram", "texture"]]
    corpus_s: Positive
    cepstral_envelope: Literal["clip", "mean", "knn"]
    cepstral_lifter_ms: Positive
    cepstral_neighbours: Count
    mosaicing_unit_s: Annotated[float, Field(ge=0.02, le=2)]
    mosaicing_neighbours: Count
    mosaicing_pitch_weight: NonNegative
    mosaicing_continuity: NonNegative
    musaicing_corpus_s: Positive
    musaicing_iterations: Count
    musaicing_repetition: Natural
    musaicing_polyphony: Count
    musaicing_continuity: Natural
    musaicing_griffin_lim_iterations: Natural
    gram_content: NonNegative
    gram_style: NonNegative
    gram_iterations: Count
    gram_phase: Literal["source", "griffin_lim"]
    texture_filters: Count
    texture_start: Literal["source", "noise"]
    texture_alpha: NonNegative
    texture_iterations: Count
    texture_griffin_lim_iterations: Natural

    @model_validator(mode="after")
    def _once(self) -> "Baselines":
        if len(set(self.systems)) != len(self.systems):
            raise ValueError("baselines.systems names a system twice: give each once")
        return self


class Listening(Section):
    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    preset: Literal["tt4", "dissertation"]
    seed: Natural
    systems: Annotated[list[DomainName], Field(min_length=1, max_length=6)]
    baselines: Annotated[list[DomainName], Field(max_length=4)]
    blocks: Annotated[
        list[Literal["content", "timbre", "likeness", "quality", "preference", "multi"]],
        Field(min_length=1),
    ]
    instruments: list[DomainName]
    items: Annotated[int, Field(ge=2)]
    listeners: Count
    pages_per_condition: Count
    repeats: Natural
    clip_s: Annotated[float, Field(ge=4, le=8)]
    loudness_lufs: Annotated[float, Field(ge=-40, le=-10)]
    peak_dbfs: Annotated[float, Field(ge=-20, lt=0)]
    fade_ms: Annotated[float, Field(ge=1, le=500)]
    headphone_check: bool
    max_minutes: Positive
    contact: Annotated[str, Field(max_length=200)]
    endpoint: Annotated[str, Field(max_length=200)]

    @model_validator(mode="after")
    def _names(self) -> "Listening":
        judged = [*self.systems, *self.baselines]
        if twice := [name for name in judged if judged.count(name) > 1]:
            raise ValueError(f"listening.systems and listening.baselines name {twice[0]} twice: give each once")
        controls = ("source", "target", "copy", "oracle", "unrelated", "anchor")
        if taken := [name for name in judged if name in controls]:
            raise ValueError(f"listening.systems names {taken[0]}, a control that every study has: remove it")
        if len(set(self.blocks)) != len(self.blocks):
            raise ValueError("listening.blocks names a block twice: give each once")
        if self.pages_per_condition > self.items:
            raise ValueError(f"listening.pages_per_condition must be at most listening.items ({self.items})")
        if self.endpoint and not self.endpoint.startswith(("https://", "http://", "/")):
            raise ValueError("listening.endpoint must be empty or an address that starts with https://")
        return self


class Params(Section):
    """The whole file."""

    seed: Natural
    dataset: Dataset
    audio: Audio
    features: Features
    classifier: Classifier
    model: Model
    vocoder: Vocoder
    evaluate: Evaluate
    listening: Listening
    baselines: Baselines

    @model_validator(mode="after")
    def _together(self) -> "Params":
        f, nyquist = self.features, self.audio.sample_rate / 2
        top = f.cqt_fmin_hz * 2 ** ((f.cqt_bins - 1) / f.cqt_bins_per_octave)
        # Half of a Hann wavelet's bandwidth (1.5 bins of its transform) lies above its centre.
        edge = top * (1 + 0.75 * (2 ** (1 / f.cqt_bins_per_octave) - 1))
        if edge >= nyquist:
            raise ValueError(
                f"features.cqt_bins: the highest filter would end at {edge:.0f} Hz, above half of audio.sample_rate "
                f"({nyquist:.0f} Hz): use fewer bins"
            )
        v = self.vocoder
        # WaveNetConfig.receptive_field (a test compares)
        field = 1 + (v.wavenet_kernel - 1) * sum(2 ** (layer % v.wavenet_layers_per_stack) for layer in range(v.wavenet_layers))
        if v.wavenet_context_layers:
            field = max(field, field - v.wavenet_kernel + (2**v.wavenet_context_layers + 1) * f.hop_length // 4)
        if v.wavenet_crop_frames * f.hop_length < field:
            raise ValueError(
                f"vocoder.wavenet_crop_frames: a crop of {v.wavenet_crop_frames * f.hop_length} samples is shorter than the WaveNet's "
                f"receptive field of {field}, a part of which would never learn: use {-(-field // f.hop_length)} or more, or fewer layers"
            )
        if self.vocoder.representation != self.model.representation:
            raise ValueError(
                f"vocoder.representation must be the same as model.representation ({self.model.representation}): "
                "the vocoder reads what the generators write"
            )
        # Three at a crop's ends (training.istft), one for the loss.
        edges = 4 * max(1, round(0.064 * self.audio.sample_rate / f.hop_length))
        if self.vocoder.istft_n_fft < 2 * f.hop_length - 1:
            raise ValueError(f"vocoder.istft_n_fft must be at least twice features.hop_length ({2 * f.hop_length})")
        if self.vocoder.istft_crop_frames < edges:
            raise ValueError(f"vocoder.istft_crop_frames must be at least {edges}: a crop's ends are not trained on")
        # The excitation is heard 320 samples (models.excited.MARGIN) beyond both ends of a crop.
        least = self.vocoder.wavenet_crop_frames + 2 * -(-320 // f.hop_length) + 1
        if self.vocoder.excited_segment_frames < least:
            raise ValueError(f"vocoder.excited_segment_frames must be at least {least}: crops of wavenet_crop_frames are cut from them")
        frames = int(self.dataset.excerpt_s * self.audio.sample_rate) // f.hop_length + 1
        if frames < self.classifier.window_frames:
            raise ValueError(f"classifier.window_frames must be at most the {frames} frames of dataset.excerpt_s, which it is tested on")
        if self.model.lambda_content and f.cqt_bins_per_octave % 12:
            raise ValueError("model.lambda_content needs features.cqt_bins_per_octave to be a multiple of 12: set it to 0")
        if self.model.method == "pix2pix" and not self.dataset.paired_training:
            raise ValueError("model.method pix2pix learns from pairs: set dataset.paired_training to true")
        if self.model.generator == "unet" and self.model.generator_blocks > 8:
            raise ValueError("model.generator_blocks counts the halvings of generator unet: use at most 8, as published")
        return self


def _sentence(error: ValidationError) -> str:
    """The first problem of a validation error as one sentence that names the key."""
    # A misspelt key is missing too: the one that should not be there is the better hint.
    problem = min(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in problem["loc"])
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"{key} is not a parameter: remove it or correct its name"
    if kind == "missing":
        return f"{key} is missing: add it (profiles/ has complete files)"
    hint = ""
    if isinstance(given, str) and kind.endswith("_type"):
        hint = " (write exponents as 2.0e-4)" if given[:1].isdigit() else ""
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key} is {given!r}: {message}{hint}"


def parse(values: Any, origin: str = "params.yaml") -> Params:
    """Validate a mapping as read from YAML.

    Raises RetimbreError with one sentence that names the key and what is allowed.
    """
    if not isinstance(values, dict):
        raise RetimbreError(f"{origin} must be a mapping of sections: seed, dataset, audio, ...")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise RetimbreError(f"{origin}: {_sentence(error)}.") from None


def read(path: str | Path = "params.yaml") -> Params:
    """Read and validate a whole params file. Raises RetimbreError (missing, broken, invalid)."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: run this in the repository's root, or copy one of profiles/ there.") from None
    except UnicodeDecodeError:
        raise RetimbreError(f"{path} is not text in UTF-8: restore it with `git checkout {path}`.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise RetimbreError(f"{path} is not valid YAML{line}: correct it or restore it with `git checkout {path}`.") from None
    return parse(values, str(path))


def load(*sections: str, path: str | Path = "params.yaml") -> SimpleNamespace:
    """The named sections of a validated params file, as attributes, and nothing else."""
    params = read(path)
    return SimpleNamespace(**{name: getattr(params, name) for name in sections})


def flatten(section: str, values: Section) -> dict[str, Any]:
    """``{"model.lambda_cycle": 4, ...}``: the names that people type after ``-S``."""
    return {f"{section}.{key}": value for key, value in values.model_dump().items()}
