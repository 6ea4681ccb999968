"""Sizes of a WaveNet autoencoder, as sections of the params have them."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from retimbre.section import Count, Positive, Precision, Share, SystemSection

if TYPE_CHECKING:
    from retimbre.nn.wavenet_autoencoder.autoencoder import AutoencoderConfig


class DecoderSizes(SystemSection):
    """Rate, decoders, noise and schedule."""

    sample_rate: Count
    layers: Count
    layers_per_stack: Annotated[int, Field(ge=1, le=15)]
    kernel: Literal[2, 3]
    residual_channels: Annotated[int, Field(ge=4)]
    skip_channels: Count
    noise_share: Share
    noise_codes: Annotated[float, Field(ge=1, le=128)]
    steps: Count
    batch_size: Count
    learning_rate: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Precision


class Sizes(DecoderSizes):
    """Codes and their temporal encoder too."""

    pool: Annotated[int, Field(ge=4, multiple_of=4)]
    code_channels: Count
    encoder_layers: Count
    encoder_layers_per_stack: Annotated[int, Field(ge=1, le=14)]
    encoder_channels: Count
    crop_codes: Count

    def network(self, domains: list[str], one_decoder: bool, relu_first: bool) -> "AutoencoderConfig":
        # Every stage reads all sections: with torch, which some do without, that would take seconds.
        from retimbre.nn.wavenet_autoencoder.autoencoder import AutoencoderConfig

        names = AutoencoderConfig.__dataclass_fields__.keys() & type(self).model_fields.keys()
        sizes = {name: getattr(self, name) for name in names}
        return AutoencoderConfig(domains=domains, one_decoder=one_decoder, relu_first=relu_first, **sizes)
