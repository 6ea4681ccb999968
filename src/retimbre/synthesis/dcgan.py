"""Deep convolutional generators and critics (Radford et al. 2016), of signals and of pictures alike.

The generator is a dense layer and transposed convolutions, the critic convolutions and a dense layer. They
have no batch norm: a gradient penalty needs scores that do not depend on the rest of the batch.

Shapes: examples are (B, C, N) or (B, C, F, T), latents (B, Z), scores (B,).
"""

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

Upsampling = Literal["transposed", "nearest"]
Initial = Literal["glorot", "he"]
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, *TRANSPOSED)  # layers with weights


@dataclass(frozen=True)
class DcganConfig:
    """Shape of a :class:`Generator` and of its :class:`Critic`.

    ``start``: places in front of the generator's first layer, (N,) or (F, T); ``kernel`` and ``stride`` of
    all layers; ``widths``: channels that the generator's layers read, ``critic_widths``: those that the
    critic's give; ``channels`` of an example. ``phase_shuffle``: the most places that the critic's
    activations are shifted by; ``normalised``: spectral norm of all convolutions.

    ``initial``: first weights of Glorot and Bengio (2010), as published, through which little of the latents
    reaches the output; or of He et al. (2015), which keep the variance.
    """

    start: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    widths: tuple[int, ...]
    critic_widths: tuple[int, ...]
    channels: int = 1
    latent: int = 100
    upsampling: Upsampling = "transposed"
    phase_shuffle: int = 0
    normalised: bool = False
    initial: Initial = "glorot"

    @property
    def end(self) -> tuple[int, ...]:
        """Places of an example."""
        layers = len(self.widths)
        return tuple(n * stride**layers for n, stride in zip(self.start, self.stride, strict=True))

    @property
    def padding(self) -> tuple[int, ...]:
        """Padding of strided layers, whose output is as long as their input divided by the stride."""
        return tuple((k - s + 1) // 2 for k, s in zip(self.kernel, self.stride, strict=True))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what ``to_dict`` gave, or JSON made of it."""
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


@torch.no_grad()
def begin(network: nn.Module, config: DcganConfig) -> None:
    """Draw the first weights of a network's layers; biases are 0."""
    for layer in network.modules():
        if not isinstance(layer, DRAWN):
            continue
        nn.init.zeros_(layer.bias)
        if config.initial == "glorot":
            nn.init.xavier_uniform_(layer.weight)
            continue
        inputs = layer.weight[0].numel()  # that an output place is the sum of
        if isinstance(layer, TRANSPOSED):
            inputs = layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
        nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs))


class Upsampled(nn.Module):
    """Convolution of x with every place repeated ``stride`` times: (B, C, N) to (B, C', N stride)."""

    def __init__(self, stride: tuple[int, ...], convolution: nn.Module):
        super().__init__()
        self.stride, self.convolution = stride, convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(F.interpolate(x, scale_factor=self.stride, mode="nearest"))


class Generator(nn.Module):
    """Latents (B, Z) to examples in -1..1."""

    def __init__(self, config: DcganConfig):
        super().__init__()
        self.config = c = config
        self.dense = nn.Linear(c.latent, c.widths[0] * math.prod(c.start))
        self.layers = nn.ModuleList(self._layer(i, o) for i, o in pairwise([*c.widths, c.channels]))
        begin(self, c)
        if c.normalised:
            for layer in self.layers:
                spectral_norm(layer.convolution if isinstance(layer, Upsampled) else layer)

    def _layer(self, i: int, o: int) -> nn.Module:
        c, flat = self.config, len(self.config.kernel) == 1
        if c.upsampling == "nearest":
            plain = nn.Conv1d if flat else nn.Conv2d
            return Upsampled(c.stride, plain(i, o, c.kernel, padding="same"))
        kind = nn.ConvTranspose1d if flat else nn.ConvTranspose2d
        sizes = zip(c.kernel, c.stride, c.padding, strict=True)
        extra = tuple(2 * padding + stride - kernel for kernel, stride, padding in sizes)
        return kind(i, o, c.kernel, c.stride, c.padding, extra)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.dense(z)).unflatten(1, (-1, *self.config.start))  # (B, C, *start)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))  # (B, C, ...), stride times as long
        return torch.tanh(self.layers[-1](x))


class Critic(nn.Module):
    """Examples to scores (B,), higher for what looks real."""

    def __init__(self, config: DcganConfig):
        super().__init__()
        self.config = c = config
        kind = nn.Conv1d if len(c.kernel) == 1 else nn.Conv2d
        widths = pairwise([c.channels, *c.critic_widths])
        self.layers = nn.ModuleList(kind(i, o, c.kernel, c.stride, c.padding) for i, o in widths)
        self.dense = nn.Linear(c.critic_widths[-1] * math.prod(c.start), 1)
        begin(self, c)
        if c.normalised:
            for layer in self.layers:
                spectral_norm(layer)

    @property
    def shuffled(self) -> int:
        """Layers whose activations are shifted: all but the last."""
        return len(self.layers) - 1 if self.config.phase_shuffle else 0

    def forward(self, x: Tensor, shifts: Tensor | None = None) -> Tensor:
        """``shifts`` of a phase shuffle: whole places, one (layers,) or one of each example (layers, B)."""
        for number, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if shifts is not None and number < self.shuffled:
                x = shifted(x, shifts[number])
        return self.dense(x.flatten(1)).squeeze(1)  # (B,)


def shifted(x: Tensor, places: Tensor) -> Tensor:
    """Signals (B, ..., N), later by ``places`` () or (B,) on their last axis; what comes in is reflected.

    Of WaveGAN (Donahue et al. 2019): a critic that cannot rely on the phase of upsampling's artefacts.
    """
    if places.ndim:
        return torch.stack([shifted(one, n) for one, n in zip(x, places, strict=True)])
    later = int(places)
    if not later:
        return x
    rows = F.pad(x.reshape(-1, x.shape[-1]), (max(later, 0), max(-later, 0)), mode="reflect")
    return (rows[:, : x.shape[-1]] if later > 0 else rows[:, -later:]).reshape(x.shape)
