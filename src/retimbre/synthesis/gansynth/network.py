"""Generator and critic that grow: of every resolution a block, faded in between the ones around it.

Karras et al., "Progressive growing of GANs", 2018, in the configuration of GANSynth. Weights are drawn with
variance 1 and scaled where they are used, so that Adam moves all of them alike. Pictures are
(B, 2, T, F). ``progress`` p: the picture is of resolution ceil(p), counted from 0, and as much of it as p is
beyond the next lower integer is the finer block's, the rest the coarser one's enlarged. What is computed at
a whole p is the same as at p - e with e towards 0.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 2  # log magnitude, and frequency or phase
SLOPE = 0.2  # of leaky ReLU
EVEN_WEIGHTS, EVEN_BIASES = 0.03, 0.3  # deviations at the start


@dataclass(frozen=True)
class Shape:
    """Sizes of both networks. ``start``: frames and bins of the first resolution, where the generator begins
    with an even picture if ``even_start``. ``tones``: both see a tone of the pitch beside what they make.
    """

    latent: int
    pitches: int
    start: tuple[int, int]
    resolutions: int
    filters: int = 4096
    most_filters: int = 256
    even_start: bool = False
    tones: bool = False

    def width(self, block: int) -> int:
        """Filters of a block, counted from 1; of 0, the critic's last layer."""
        return max(1, min(self.filters >> block, self.most_filters))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Shape":
        return cls(**values | {"start": tuple(values["start"])})


class Conv(nn.Module):
    """Convolution with scaled weights. ``gain``: 2 before a leaky ReLU, as for a plain one; else 1."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], padding: Any = 0, gain: int = 2):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale, self.padding = math.sqrt(gain / (inputs * kernel[0] * kernel[1])), padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.scale * self.weight, self.bias, padding=self.padding)


class Spread(Conv):
    """Convolution of a single pixel (B, C, 1, 1) padded on all sides by a kernel of the output's size: every
    pixel of the output meets one of the kernel's, which is a product of matrices.

    ``even``: weights are small beside the biases, so that a picture begins as an even area and not as noise.
    Their scale counts the inputs that one pixel sums up and not the kernel's pixels, so that a step of
    training moves a large kernel as far as a small one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int], even: bool):
        super().__init__(inputs, outputs, kernel)
        if even:
            self.scale = math.sqrt(2 / inputs)
            with torch.no_grad():
                self.weight.mul_(EVEN_WEIGHTS)
                self.bias.normal_(0, EVEN_BIASES)

    def forward(self, x: Tensor) -> Tensor:
        # Of each output channel a product: `einsum` would copy all weights into another order first.
        made = x.flatten(1) @ (self.scale * self.weight).flatten(2)
        made = made.unflatten(2, self.weight.shape[2:]).transpose(0, 1) + self.bias[:, None, None]
        return made.contiguous(memory_format=torch.channels_last)


def three(inputs: int, outputs: int) -> Conv:
    return Conv(inputs, outputs, (3, 3), 1)


def pixel_norm(x: Tensor) -> Tensor:
    """Every pixel of (B, C, ...) divided by the root of its channels' mean square."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def normed(x: Tensor) -> Tensor:
    return pixel_norm(F.leaky_relu(x, SLOPE))


def up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)


def down(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def faded(coarse: Tensor, fine: Tensor, progress: float) -> Tensor:
    """Mixture of two pictures of one size, of which the finer has the share that ``progress`` has gone."""
    return torch.lerp(coarse, fine, progress - math.ceil(progress) + 1)


def shown(pictures: Tensor, progress: float) -> Tensor:
    """Pictures (B, 2, T, F) of the resolution that ``progress`` has come to, as the critic is shown them."""
    return pictures if progress == math.ceil(progress) else faded(up(down(pictures)), pictures, progress)


class Tones(nn.Module):
    """Pictures (P, 2, T, F) of a steady tone of every pitch, to be seen beside what a layer makes of it.

    ``noise``: two channels of fixed noise for each, too, as recordings have where no partial lies. Neither is
    a weight, and neither is stored. Without pictures nothing is seen.
    """

    def __init__(self, pictures: Tensor | None, noise: bool = False):
        super().__init__()
        grain = None
        if pictures is not None and noise:
            drawn = np.random.default_rng(0).standard_normal(pictures.shape, np.float32)
            grain = torch.from_numpy(drawn).to(pictures.device)
        self.register_buffer("pictures", pictures, persistent=False)
        self.register_buffer("grain", grain, persistent=False)
        self.channels = CHANNELS * sum(x is not None for x in (pictures, grain))

    def beside(self, x: Tensor, pitches: Tensor | None) -> Tensor:
        """``x`` (B, C, t, f) and behind it what belongs to pitches (B, P), one-hot, at the same size."""
        if self.pictures is None:
            return x
        which = pitches.argmax(1)
        step = self.pictures.shape[-1] // x.shape[-1]
        seen = [x, F.avg_pool2d(self.pictures[which], step)]
        if self.grain is not None:
            seen.append(self.grain[which, :, ::step, ::step])
        return torch.cat(seen, 1)


class Generator(nn.Module):
    """Latents (B, Z) and pitches (B, P), one-hot, to pictures in -1..1.

    ``tones``: pictures (P, 2, T, F) of every pitch, in the place of the one-hot; with ``even_start`` the
    first pictures are nearly these.
    """

    def __init__(self, shape: Shape, tones: Tensor | None = None):
        super().__init__()
        self.shape = shape
        self.tones = Tones(tones, noise=True)
        width, blocks, more = shape.width, range(1, shape.resolutions + 1), self.tones.channels
        told = shape.latent + (0 if shape.tones else shape.pitches)
        first = Spread(told, width(1), shape.start, shape.even_start)
        self.first = nn.ModuleList([first if b == 1 else three(width(b - 1), width(b)) for b in blocks])
        self.second = nn.ModuleList([three(width(b) + more, width(b)) for b in blocks])
        self.pictures = nn.ModuleList([Conv(width(b) + more, CHANNELS, (1, 1), gain=1) for b in blocks])
        if shape.tones and shape.even_start:
            with torch.no_grad():
                for block, layer in zip(blocks, self.pictures, strict=True):
                    tone = slice(width(block), width(block) + CHANNELS)
                    layer.weight.mul_(EVEN_BIASES)
                    layer.weight[:, tone] = torch.eye(CHANNELS)[..., None, None] / layer.scale
        for part in (self.first[1:], self.second, self.pictures):
            part.to(memory_format=torch.channels_last)  # twice as fast on a CPU with few channels

    def forward(self, latents: Tensor, pitches: Tensor, progress: float) -> Tensor:
        x = pixel_norm(latents if self.shape.tones else torch.cat([latents, pitches], 1))[:, :, None, None]
        last = math.ceil(progress)
        before = x
        for block in range(last + 1):
            before, x = x, up(x) if block else x
            x = normed(self.second[block](self.tones.beside(normed(self.first[block](x)), pitches)))
        picture = self._picture(x, pitches, last)
        if progress == last:
            return picture
        return faded(up(self._picture(before, pitches, last - 1)), picture, progress)

    def _picture(self, x: Tensor, pitches: Tensor, block: int) -> Tensor:
        return torch.tanh(self.pictures[block](self.tones.beside(x, pitches)))


class Critic(nn.Module):
    """Pictures to scores (B,) and logits of pitches (B, P). Its last block is told how much a batch's
    pictures differ. With ``tones`` it needs the pitches (B, P) that the pictures should have.
    """

    def __init__(self, shape: Shape, tones: Tensor | None = None):
        super().__init__()
        self.shape = shape
        self.tones = Tones(tones)
        width, blocks = shape.width, range(1, shape.resolutions + 1)
        seen = CHANNELS + self.tones.channels
        self.pictures = nn.ModuleList([Conv(seen, width(b), (1, 1)) for b in blocks])
        self.first = nn.ModuleList([three(width(b) + (b == 1), width(b)) for b in blocks])
        self.second = nn.ModuleList(
            [
                Conv(width(1), width(0), shape.start) if b == 1 else three(width(b), width(b - 1))
                for b in blocks
            ]
        )
        self.score = Conv(width(0), 1, (1, 1), gain=1)
        self.pitch = Conv(width(0), shape.pitches, (1, 1), gain=1)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, pictures: Tensor, progress: float, pitches: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        last = math.ceil(progress)
        x = self._seen(pictures, pitches, last)
        for block in range(last, 0, -1):
            x = F.leaky_relu(self.first[block](x), SLOPE)
            x = down(F.leaky_relu(self.second[block](x), SLOPE))
            if block == last and progress < last:
                x = faded(self._seen(down(pictures), pitches, last - 1), x, progress)
        # Not `var`, which takes twenty times as long on this order of dimensions.
        spread = ((x - x.mean(0)).square().mean(0) + 1e-6).sqrt().mean()
        x = torch.cat([x, spread.expand(len(x), 1, *x.shape[2:])], 1)
        for layer in (self.first[0], self.second[0]):
            x = F.leaky_relu(layer(x), SLOPE)
        return self.score(x).flatten(), self.pitch(x).flatten(1)

    def _seen(self, pictures: Tensor, pitches: Tensor | None, block: int) -> Tensor:
        return F.leaky_relu(self.pictures[block](self.tones.beside(pictures, pitches)), SLOPE)
