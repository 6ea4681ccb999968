"""Networks that make an instrument's spectrum of what is heard, or of another instrument's spectrum.

B batch, C channels, F frequency bins, T frames. Spectra are in -1..1 (``audio.features.normalise``).
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

DILATIONS = (1, 2, 4, 8)
HIGHEST = 1.2  # of an output: what is louder counts as this, so that its magnitude stays finite
SMALLEST = 1e-6  # added to a frame's mean square, so that its root has a slope at 0


@dataclass(frozen=True)
class NetworkConfig:
    """Shape of a :class:`SpectrumNetwork`.

    ``inputs``: channels of the input; ``bins``: F of the output; ``residual``: it is a change of the input,
    a spectrum of as many bins.
    """

    inputs: int
    bins: int
    instruments: int
    channels: int
    blocks: int
    embedding: int
    residual: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class FilmBlock(nn.Module):
    """Dilated convolution, added; the instrument scales and shifts its channels (FiLM, Perez et al. 2018)."""

    def __init__(self, channels: int, dilation: int, embedding: int):
        super().__init__()
        self.dilated = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.film = nn.Linear(embedding, 2 * channels)
        self.mix = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, instrument: Tensor) -> Tensor:
        scale, shift = self.film(instrument)[..., None].chunk(2, 1)  # (B, C, 1) each
        h = functional.leaky_relu((1 + scale) * self.dilated(x) + shift, 0.2)
        return x + self.mix(h)  # (B, C, T)


class SpectrumNetwork(nn.Module):
    """Input (B, C, T) and target instruments (B,) to the targets' spectra (B, F, T)."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        c = config.channels
        self.instruments = nn.Embedding(config.instruments, config.embedding)
        self.inner = nn.Conv1d(config.inputs, c, 3, padding=1)
        dilations = [DILATIONS[i % len(DILATIONS)] for i in range(config.blocks)]
        self.blocks = nn.ModuleList(FilmBlock(c, d, config.embedding) for d in dilations)
        self.out = nn.Conv1d(c, config.bins, 3, padding=1)
        self.offset = nn.Embedding(config.instruments, config.bins)
        nn.init.zeros_(self.offset.weight)
        if config.residual:  # it starts by changing nothing
            nn.init.normal_(self.out.weight, 0, 1e-3)
            nn.init.zeros_(self.out.bias)

    @property
    def context(self) -> int:
        """Input frames on each side that an output frame depends on."""
        return 2 + sum(block.dilated.dilation[0] for block in self.blocks)

    def forward(self, x: Tensor, instrument: Tensor) -> Tensor:
        e = self.instruments(instrument)  # (B, E)
        h = functional.leaky_relu(self.inner(x), 0.2)  # (B, C, T)
        for block in self.blocks:
            h = block(h, e)
        y = self.out(functional.leaky_relu(h, 0.2)) + self.offset(instrument)[..., None]  # (B, F, T)
        return x + y if self.config.residual else y


class Experts(nn.Module):
    """Two networks for the same spectrum, and the mean of what they say.

    ``content`` makes it of what a transcriber hears: any source, but notes of chords get lost. ``spectrum``
    makes it of the source's spectrum: chords are kept, but so is some of the source. ``share`` (0 to 1) of
    the mean is the second's.
    """

    def __init__(self, content: NetworkConfig, spectrum: NetworkConfig | None, share: float):
        super().__init__()
        self.content = SpectrumNetwork(content)
        self.spectrum = SpectrumNetwork(spectrum) if spectrum else None
        self.share = share if spectrum else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The arguments of this class, for :meth:`from_dict`."""
        shapes = {name: network.config.to_dict() for name, network in self.named_children()}
        return {"content": shapes["content"], "spectrum": shapes.get("spectrum"), "share": self.share}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Experts":
        """Untrained networks of a stored configuration."""
        shapes = (values[name] and NetworkConfig(**values[name]) for name in ("content", "spectrum"))
        return cls(*shapes, values["share"])

    @property
    def context(self) -> int:
        """Frames on each side that an output frame depends on."""
        return max(network.context for network in (self.content, self.spectrum) if network)

    def each(self, content: Tensor, spectrum: Tensor, instrument: Tensor) -> tuple[Tensor, Tensor]:
        """Spectra (B, F, T) by each network, of content (B, C, T) and of the source's spectrum (B, F, T)."""
        return self.content(content, instrument), self.spectrum(spectrum, instrument)

    def mixed(self, by_content: Tensor, by_spectrum: Tensor) -> Tensor:
        """Their mean, weighted by ``share``."""
        return torch.lerp(by_content, by_spectrum, self.share)

    def forward(self, content: Tensor, spectrum: Tensor, instrument: Tensor) -> Tensor:
        """Content (B, C, T), source's spectrum (B, F, T), instruments (B,) to their spectra (B, F, T)."""
        if not self.share:
            return self.content(content, instrument)
        return self.mixed(*self.each(content, spectrum, instrument))


def spectral_loss(output: Tensor, target: Tensor, range_db: float) -> tuple[Tensor, Tensor]:
    """Log-spectral distance of spectra (B, F, T) in -1..1, and L1 of their magnitudes, 0 to 1 at the top.

    The distance is the root mean square over a frame's bins, mean over frames, in halves of the range. What
    is near in dB has low peaks and a smooth spectrum; magnitudes weigh what is loud.
    """
    y, x = (10 ** ((z.clamp(-1, HIGHEST) - 1) * range_db / 40) for z in (output, target))
    lsd = (output - target).square().mean(1).add(SMALLEST).sqrt().mean()
    return lsd, (y - x).abs().mean()
