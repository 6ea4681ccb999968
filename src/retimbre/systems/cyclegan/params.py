"""Section ``model``: the CycleGAN."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from retimbre.section import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Precision,
    Representation,
    Share,
    SystemSection,
)

# What `discriminator` may name, one or several; nn/spectral/discriminators.py builds them (a test compares).
DISCRIMINATORS = ("full_spectrum", "patch", "conv1d", "spectrogram", "temporal")


class Adversarial(SystemSection):
    """Knobs of every training of spectral generators against discriminators; ``section``: of params.yaml."""

    representation: Representation
    precision: Precision
    generator: Literal["resnet1d", "resnet2d", "unet", "yoon2019"]
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
    lambda_feature_matching: NonNegative
    lambda_content: NonNegative
    lambda_gradient_penalty: NonNegative
    discriminator_steps: Count
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
    def _discriminators(cls, given: Any) -> Any:
        names = given if isinstance(given, list) else [given]
        if not names or any(name not in DISCRIMINATORS for name in names) or len(set(names)) != len(names):
            known = ", ".join(DISCRIMINATORS)
            raise ValueError(f"discriminator is {given!r}: use one of {known}, or a list of different ones")
        return given

    @model_validator(mode="after")
    def _losses(self) -> "Adversarial":
        if self.gan_loss == "wgan_gp" and self.lambda_gradient_penalty == 0:
            advice = "use 10, as published"
            raise ValueError(f"lambda_gradient_penalty must be above 0 for gan_loss wgan_gp: {advice}")
        if self.label_smoothing and self.gan_loss not in ("lsgan", "nonsaturating"):
            why = f"gan_loss {self.gan_loss} has no label to smooth"
            raise ValueError(f"label_smoothing: {why}, so set it to 0")
        if self.lambda_content and self.representation != "cqt":
            advice = "set it to 0 for other representations"
            raise ValueError(f"lambda_content folds CQT bins to pitch classes: {advice}")
        if self.generator == "unet" and self.generator_blocks > 8:
            advice = "use at most 8, as published"
            raise ValueError(f"generator_blocks counts the halvings of generator unet: {advice}")
        return self


class Params(Adversarial):
    """The CycleGAN's own knobs beside those."""

    section: ClassVar[str] = "model"  # because `model.lambda_cycle` is what people type
    lambda_cycle: NonNegative
    lambda_identity: NonNegative
    identity_until: NonNegative
    pool_size: Natural
