"""An encoder of spectra to Gaussian codes, and a WaveNet that is conditioned on them and on the instrument.

B batch, F frequency bins, T frames, N samples, Z numbers of a code, J codes. Spectra are in -1..1.
"""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.nn.spectral.gaussian import GaussianEncoder
from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import WaveNetConfig


@dataclass(frozen=True)
class VlaeConfig:
    """Shape of a :class:`Vlae`: ``channels`` and ``blocks`` of the encoder, a code for every ``stride``
    frames; ``wavenet``: the decoder, whose features are codes and whose hop are the samples of one.

    Raises RetimbreError for a decoder that sees as far back as a code reaches.
    """

    bins: int
    channels: int
    blocks: int
    stride: int
    wavenet: WaveNetConfig

    def __post_init__(self):
        field, hop = self.wavenet.receptive_field(), self.wavenet.hop_length
        if field >= hop:
            raise RetimbreError(
                f"the decoder of vlae sees {field} samples of its past, and a code stands for {hop}: use "
                "fewer layers, or more code_frames, or it learns to do without the codes."
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VlaeConfig":
        """The inverse of :meth:`to_dict`."""
        return cls(**values | {"wavenet": WaveNetConfig(**values["wavenet"])})


class Vlae(nn.Module):
    """``encoder`` of spectra and ``decoder`` of samples; ``code_histogram`` (256,) counts mu-law codes."""

    def __init__(self, config: VlaeConfig, code_histogram: Tensor | None = None):
        super().__init__()
        self.config = c = config
        self.encoder = GaussianEncoder(c.bins, c.channels, c.blocks, c.wavenet.feature_bins, c.stride)
        self.decoder = WaveNet(c.wavenet, code_histogram=code_histogram)

    def forward(self, past: Tensor, spectra: Tensor, instrument: Tensor) -> Tensor:
        """Logits (B, N, 256) of samples given those before, from spectra (B, F, T) through mean codes."""
        return self.decoder(past, self.encoder(spectra)[0], instrument)
