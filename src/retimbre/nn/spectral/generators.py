"""Generators of the CycleGAN and of pix2pix on log-magnitude spectra.

Conventions: a generator takes and returns spectra of shape (B, F, T) in -1..1 (the range of
``audio.features.normalise``), any T. Its body is one of ``nn.spectral.resnet``, ``unet`` and
``yoon2019``; this file holds what all have in common: how the body's output becomes a spectrum.

The bounded change and the start at the domains' mean difference are this project's: without the bound a
strong discriminator drives the generators to a collapse that fools it, and without the start most of a short
training is spent on learning an equaliser.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retimbre.nn.spectral.resnet import ResNet1d, ResNet2d
from retimbre.nn.spectral.unet import UNet
from retimbre.nn.spectral.yoon2019 import Yoon2019


@dataclass(frozen=True)
class GeneratorConfig:
    """``bins``: F. ``blocks``: residual blocks, or the U-Net's halvings. ``change_limit``: largest change
    beyond the offset, in half ranges; 0: none. ``upsampling``: of the 2-D bodies.
    """

    bins: int
    kind: Literal["resnet1d", "resnet2d", "unet", "yoon2019"] = "resnet1d"
    channels: int = 128
    blocks: int = 4
    change_limit: float = 0.7
    upsampling: Literal["nearest", "transposed"] = "nearest"
    residual_output: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_body(config: GeneratorConfig) -> nn.Module:
    """The network (B, F, T) -> (B, F, T) that a configuration names."""
    if config.kind == "resnet1d":
        return ResNet1d(config.bins, config.channels, config.blocks)
    body = {"resnet2d": ResNet2d, "unet": UNet, "yoon2019": Yoon2019}[config.kind]
    return body(config.bins, config.channels, config.blocks, config.upsampling)


class Generator(nn.Module):
    """y = clip(x + offset + limit * tanh(h(x) / limit)), clipped with a straight-through gradient.

    ``offset`` (F,) is a trainable level difference per bin: started at the mean difference of the
    domains it makes the untrained generator an equaliser. h starts near zero.

    Without ``residual_output``, the published form: y = tanh(h(x + offset)), which has to learn to copy
    first.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.body = make_body(config)
        self.offset = nn.Parameter(torch.zeros(config.bins))
        if config.residual_output:
            nn.init.normal_(self.body.out.weight, 0.0, 1e-3)
        nn.init.zeros_(self.body.out.bias)

    @property
    def context(self) -> int:
        """Input frames on each side that an output frame may depend on."""
        return self.body.context

    @property
    def stride(self) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return self.body.stride

    def forward(self, x: Tensor) -> Tensor:
        if not self.config.residual_output:
            return torch.tanh(self.body(x + self.offset[:, None]))
        change = self.body(x)  # (B, F, T)
        limit = self.config.change_limit
        if limit:
            change = limit * torch.tanh(change / limit)
        y = x + change + self.offset[:, None]
        return y + (y.clamp(-1, 1) - y).detach()
