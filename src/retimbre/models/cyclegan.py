"""Generators and discriminators of the CycleGAN on log-magnitude spectra.

Conventions: every network takes and returns spectra of shape (B, F, T) in -1..1 (the range of
``audio.features.normalise``); discriminators return a map of scores, one per place and time.

Sources: CycleGAN (Zhu et al. 2017) and TimbreTron (Huang et al. 2019) for the set-up, nearest
neighbour upsampling and the full-spectrum discriminator; the bounded change, the start at the
domains' mean difference and the frequency-as-channel body are this project's: without the bound a
strong discriminator drives the generators to a collapse that fools it, and without the start most
of a short training is spent on learning an equaliser.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class GeneratorConfig:
    """``bins``: F. ``change_limit``: largest change beyond the offset, in half ranges; 0: none."""

    bins: int
    kind: Literal["resnet1d", "resnet2d"] = "resnet1d"
    channels: int = 128
    blocks: int = 4
    change_limit: float = 0.7

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class DilatedBlock(nn.Module):
    """x + conv1(act(conv3(x))): a residual block over time, frequency in the channels."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.LeakyReLU(0.2),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNet1d(nn.Module):
    """Frequency bins as channels, dilated residual blocks over time.

    No normalisation layer: level carries meaning here, and instance norm would see other
    statistics on a whole recording than on a training crop.
    """

    def __init__(self, bins: int, channels: int, blocks: int):
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv1d(bins, channels, 5, padding=2),
            nn.LeakyReLU(0.2),
            *[DilatedBlock(channels, 2 ** (i % 4)) for i in range(blocks)],
            nn.LeakyReLU(0.2),
        )
        self.out = nn.Conv1d(channels, bins, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(x))  # (B, F, T) -> (B, C, T) -> (B, F, T)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of every place (B, C, F, T).

    In the place of the paper's instance norm, whose statistics run over time: a chunk of a recording
    would come out otherwise than the whole, and a recording otherwise than a training crop.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class ResidualBlock2d(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            ChannelNorm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            ChannelNorm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ResNet2d(nn.Module):
    """The CycleGAN paper's generator (c7s1-C, d2C, d4C, R4C..., u2C, uC, c7s1-1) on the spectrum as
    a picture, with TimbreTron's nearest-neighbour upsampling + convolution in place of transposed
    convolutions, whose checkerboards would be heard. A second channel carries the bin's place.
    """

    def __init__(self, bins: int, channels: int, blocks: int):
        super().__init__()
        c = channels

        def down(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, stride=2, padding=1), ChannelNorm(o), nn.ReLU()]

        def up(i: int, o: int) -> list[nn.Module]:
            return [nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1), ChannelNorm(o), nn.ReLU()]

        self.inner = nn.Sequential(
            nn.Conv2d(2, c, 7, padding=3, padding_mode="reflect"),
            ChannelNorm(c),
            nn.ReLU(),
            *down(c, 2 * c),
            *down(2 * c, 4 * c),
            *[ResidualBlock2d(4 * c) for _ in range(blocks)],
            *up(4 * c, 2 * c),
            *up(2 * c, c),
        )
        self.out = nn.Conv2d(c, 1, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        bins, frames = x.shape[1:]
        place = torch.linspace(-1, 1, bins, device=x.device, dtype=x.dtype)[None, :, None].expand_as(x)
        picture = torch.stack([x, place], 1)  # (B, 2, F, T)
        picture = F.pad(picture, (0, -frames % 4, 0, -bins % 4), mode="replicate")  # two halvings
        return self.out(self.inner(picture))[:, 0, :bins, :frames]  # (B, F, T)


class Generator(nn.Module):
    """y = clip(x + offset + limit * tanh(h(x) / limit)), clipped with a straight-through gradient.

    ``offset`` (F,) is a trainable level difference per bin: started at the mean difference of the
    domains it makes the untrained generator an equaliser. h starts near zero.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        body = {"resnet1d": ResNet1d, "resnet2d": ResNet2d}[config.kind]
        self.body = body(config.bins, config.channels, config.blocks)
        self.offset = nn.Parameter(torch.zeros(config.bins))
        nn.init.normal_(self.body.out.weight, 0.0, 1e-3)
        nn.init.zeros_(self.body.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        change = self.body(x)  # (B, F, T)
        limit = self.config.change_limit
        if limit:
            change = limit * torch.tanh(change / limit)
        y = x + change + self.offset[:, None]
        return y + (y.clamp(-1, 1) - y).detach()


class Discriminator(nn.Module):
    """Strided convolutions over the picture [level, change over time], then one layer that sees
    every frequency at once (``full_spectrum``: partials of a note are judged together) or only its
    neighbourhood (``patch``). Input (B, F, T); output (B, 1, 1 or F / 8, T / 8).

    Group norm, not batch norm: the scores of one example do not depend on the others in the batch, and
    a gradient penalty would remain possible.
    """

    def __init__(self, bins: int, kind: Literal["full_spectrum", "patch"] = "full_spectrum", channels: int = 64):
        super().__init__()
        c = channels // 4
        rows = -(-bins // 8) if kind == "full_spectrum" else 1

        def norm(n: int) -> nn.Module:
            return nn.GroupNorm(max(1, n // 8), n) if n % 8 == 0 else nn.GroupNorm(1, n)

        self.layers = nn.Sequential(
            nn.Conv2d(2, c, 5, stride=2, padding=2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(c, 2 * c, 5, stride=2, padding=2),
            norm(2 * c),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * c, 3 * c, 3, stride=2, padding=1),
            norm(3 * c),
            nn.LeakyReLU(0.2),
            nn.Conv2d(3 * c, 4 * c, (rows, 3), padding=(0, 1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * c, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        change = F.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
        return self.layers(torch.stack([2 * x, 4 * change], 1))  # (B, 2, F, T) -> (B, 1, ., .)
