"""Encoder and decoders together: audio to a code of what is played, and back on any of the instruments."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from retimbre.audio.companding import mu_law_decode, mu_law_encode
from retimbre.errors import check_target
from retimbre.nn.wavenet.options import CODES
from retimbre.nn.wavenet_autoencoder.decoder import Decoder, DecoderConfig, cross_entropy
from retimbre.nn.wavenet_autoencoder.encoder import TemporalEncoder
from retimbre.nn.wavenet_autoencoder.generation import State
from retimbre.nn.weights import read_config, save_model, with_weights

TEMPERATURE = 0.7  # of sampling: divides the logits
EDGE = 32  # samples at a cut that resampling spoils
ALL = "all"  # name of the decoder that serves every domain


@dataclass(frozen=True)
class DecodersConfig:
    """Sizes of decoders. ``sample_rate`` in Hz is their own; a code is for ``pool`` samples.

    ``one_decoder``: a single decoder is told the domain, as numbers beside the code; else each has its own.
    """

    domains: list[str]
    sample_rate: int
    pool: int
    code_channels: int
    layers: int
    layers_per_stack: int
    kernel: int
    residual_channels: int
    skip_channels: int
    one_decoder: bool

    def decoder(self) -> DecoderConfig:
        H = self.code_channels + (len(self.domains) if self.one_decoder else 0)
        names = ("layers", "layers_per_stack", "kernel", "residual_channels", "skip_channels")
        sizes = {name: getattr(self, name) for name in names}
        return DecoderConfig(H, self.pool, 1, conditioning_channels=H, input="scalar", **sizes)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**values)


@dataclass(frozen=True)
class AutoencoderConfig(DecodersConfig):
    """Sizes of a temporal encoder too."""

    encoder_layers: int
    encoder_layers_per_stack: int
    encoder_channels: int
    relu_first: bool


class CodedWaveNets(nn.Module):
    """``encoder`` and ``decoders`` by domain. Samples are mu-law codes (B, N), codes of music (B, T, C)."""

    Config: ClassVar[type[DecodersConfig]]

    def __init__(self, encoder: nn.Module, config: DecodersConfig):
        super().__init__()
        self.config, self.encoder = config, encoder
        names = [ALL] if config.one_decoder else config.domains
        self.decoders = nn.ModuleDict({name: Decoder(config.decoder()) for name in names})

    def decoder(self, domain: str) -> Decoder:
        """The network that plays ``domain``. Raises RetimbreError, naming the choice, where none does."""
        check_target(domain, self.config.domains)
        return self.decoders[ALL if self.config.one_decoder else domain]

    def conditioning(self, code: Tensor, domain: str) -> Tensor:
        """Conditioning of the decoder of ``domain`` by a code (B, T, C)."""
        if not self.config.one_decoder:
            return code
        told = torch.zeros(*code.shape[:2], len(self.config.domains), dtype=code.dtype, device=code.device)
        told[..., self.config.domains.index(domain)] = 1
        return torch.cat([code, told], -1)

    def loss(self, samples: Tensor, code: Tensor, domain: str, heard: Tensor | None = None) -> Tensor:
        """Nats per sample of mu-law codes (B, N) of one domain; ``heard``: the past as it is heard."""
        return cross_entropy(self.decoder(domain), samples, self.conditioning(code, domain), heard)

    @torch.no_grad()
    def bits_of(self, samples: dict[str, Tensor], codes: dict[str, Tensor]) -> dict[str, float]:
        """Bits per sample of mu-law codes (B, N) by domain, and how many more with the code of another row.

        ``codes`` (B, T, C) of them. The second, the gap, is what the decoders take from the code.
        """
        found = {"nll_bits": 0.0, "gap_bits": 0.0}
        for domain, x in samples.items():
            code = codes[domain]
            own = self.loss(x, code, domain) / np.log(2) / len(samples)
            found["nll_bits"] += own.item()
            other = self.loss(x, code.roll(1, 0), domain) / np.log(2) / len(samples)
            found["gap_bits"] += (other - own).item()
        return found

    def samples(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Audio (..., N) to mu-law codes at the networks' rate, int64."""
        return mu_law_encode(resampled(audio, sample_rate, self.config.sample_rate))

    def audio(self, codes: np.ndarray, sample_rate: int) -> np.ndarray:
        """Mu-law codes (N,) or (B, N) at the networks' rate to audio at ``sample_rate``."""
        return resampled(mu_law_decode(codes), self.config.sample_rate, sample_rate)

    @torch.no_grad()
    def decode(
        self,
        code: np.ndarray,
        domain: str,
        length: int,
        sample_rate: int,
        temperature: float,
        seed: int = 0,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """A code (T, C), played on ``domain``: audio (``length``,), sampled; the same seed, the same samples.

        ``before`` (M,): the first M samples as they were made already, which sampling goes on from.
        """
        wanted = min(-(-length * self.config.sample_rate // sample_rate), len(code) * self.config.pool)
        held = torch.from_numpy(np.ascontiguousarray(code, np.float32))[None]
        held, state = self.conditioning(held, domain)[0], State(self.decoder(domain), seed)
        made = np.zeros(0, np.uint8)
        if before is not None and len(before):
            made = self.samples(before, sample_rate).astype(np.uint8)
            made = made[: max(len(made) - EDGE, 0)][:wanted]
        if len(made):
            state.run(held, len(made), forced=made)
        if len(made) < wanted:
            made = np.concatenate([made, state.run(held, wanted - len(made), temperature)[0]])
        audio = self.audio(made, sample_rate)[:length]
        return np.pad(audio, (0, length - len(audio)))

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def save(self, folder: Path, config: dict[str, Any]) -> None:
        """Write the weights, and ``config`` with what rebuilds the networks."""
        save_model(folder / "autoencoder.safetensors", self, {**config, "autoencoder": asdict(self.config)})

    @classmethod
    def load(cls, folder: Path) -> tuple[Self, dict[str, Any]]:
        """Read what ``save`` wrote."""
        config = read_config(folder)
        network = cls(cls.Config.from_dict(config.pop("autoencoder")))
        return with_weights(network, folder / "autoencoder.safetensors"), config


class Autoencoder(CodedWaveNets):
    """Decoders, and an encoder that hears companded amplitudes."""

    Config = AutoencoderConfig
    config: AutoencoderConfig

    def __init__(self, config: AutoencoderConfig):
        c = config
        sizes = (c.encoder_layers, c.encoder_layers_per_stack, c.encoder_channels, c.code_channels, c.pool)
        super().__init__(TemporalEncoder(*sizes, c.relu_first), config)

    @torch.no_grad()
    def bits(self, samples: dict[str, Tensor]) -> dict[str, float]:
        """``bits_of`` mu-law codes (B, N) by domain."""
        return self.bits_of(samples, {domain: self.encoder(companded(x)) for domain, x in samples.items()})

    @torch.no_grad()
    def encode(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Audio (N,) to its code (T, C), T = the codes that cover it."""
        x = torch.from_numpy(self.samples(audio, sample_rate))
        x = nn.functional.pad(x, (0, -len(x) % self.config.pool), value=CODES // 2)
        return self.encoder(companded(x[None].to(self.device)))[0].cpu().numpy()

    @property
    def context(self) -> int:
        """Samples of the networks' rate on either side that one of the output depends on."""
        encoder, decoder = self.encoder.receptive_field // 2, self.config.decoder().receptive_field()
        return encoder + decoder + self.config.pool


def companded(samples: Tensor) -> Tensor:
    """Mu-law codes to the amplitudes -1..1 that encoders hear."""
    return samples.float() * (2 / (CODES - 1)) - 1


def resampled(x: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Audio (N,) or (B, N) at another rate, float32."""
    if rate_in == rate_out:
        return x
    y = soxr.resample(np.ascontiguousarray(x.T, np.float32), rate_in, rate_out, "HQ")
    return np.ascontiguousarray(y.T)


def histogram(batches: Sequence[np.ndarray]) -> Tensor:
    """Counts (256,) of mu-law codes: where the decoders start."""
    return torch.from_numpy(np.bincount(np.concatenate([b.ravel() for b in batches]), minlength=CODES))
