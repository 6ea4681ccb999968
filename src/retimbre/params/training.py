"""The sections of what is trained: the classifier, the generators and the vocoders."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from retimbre.params.base import Accelerator, Count, Natural, NonNegative, Positive, Precision, Representation, Section, Share

# What `model.discriminator` may name, one or several; models/discriminators.py builds them (a test compares).
DISCRIMINATORS = ("full_spectrum", "patch", "conv1d", "spectrogram", "temporal")

# Those of systems.vocoder_parts.KINDS (a test compares).
VocoderKind = Literal["source_phase", "griffin_lim", "istft", "wavenet", "wavenet_excited"]


class Trained(Section):
    """How every training runs."""

    log_every: Count
    checkpoint_every: Count
    accelerator: Accelerator
    precision: Precision


class TrainedOnSeveral(Trained):
    """How trainings run that several devices can share."""

    devices: Count
    nodes: Count
    compile: bool


class Classifier(Trained):
    representation: Representation
    channels: Count
    window_frames: Annotated[int, Field(ge=16)]
    batch_size: Count
    steps: Count
    learning_rate: Positive
    gain_jitter_db: NonNegative
    noise_db: NonNegative


class Model(TrainedOnSeveral):
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

    @model_validator(mode="after")
    def _depth(self) -> "Model":
        if self.generator == "unet" and self.generator_blocks > 8:
            raise ValueError("model.generator_blocks counts the halvings of generator unet: use at most 8, as published")
        return self


class Vocoder(TrainedOnSeveral):
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
    excited_share: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _kinds(self) -> "Vocoder":
        if len(set(self.kinds)) != len(self.kinds):
            raise ValueError("vocoder.kinds names a kind twice: give each once")
        if self.kind not in self.kinds:
            raise ValueError(f"vocoder.kinds must name vocoder.kind ({self.kind}): the default audio is made by it")
        if self.wavenet_output == "mol" and self.wavenet_input != "scalar":
            raise ValueError("vocoder.wavenet_output mol needs vocoder.wavenet_input scalar: 65536 codes have no embedding")
        return self
