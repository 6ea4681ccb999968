"""Residual generator bodies: over time with frequency as channels, and over the spectrum as a picture.

Every body takes and returns (B, F, T), any F and T; its last layer is called ``out``, so that a generator
can start it near zero. ``context`` is the number of input frames on each side that an output frame may
depend on and ``stride`` the grid of frames on which the body repeats itself: a recording that is cut on the
grid, with that much context, comes out as if it were whole. Nothing here normalises over time, which would
break that.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    stride = 1

    def __init__(self, bins: int, channels: int, blocks: int):
        super().__init__()
        dilations = [2 ** (i % 4) for i in range(blocks)]
        self.context = 2 + sum(dilations) + 2
        self.inner = nn.Sequential(
            nn.Conv1d(bins, channels, 5, padding=2),
            nn.LeakyReLU(0.2),
            *[DilatedBlock(channels, dilation) for dilation in dilations],
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
    """x + conv3(act(conv3(x))), each convolution normalised over the channels unless ``norm`` is false."""

    def __init__(self, channels: int, norm: bool = True):
        super().__init__()

        def conv() -> list[nn.Module]:
            layer = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
            return [layer, ChannelNorm(channels)] if norm else [layer]

        self.body = nn.Sequential(*conv(), nn.ReLU(), *conv())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def picture(x: Tensor, rows: int, columns: int) -> Tensor:
    """The spectrum (B, F, T) as a picture (B, 2, F', T'): levels, and each bin's place from -1 to 1.

    F' and T' are the next multiples of ``rows`` and ``columns``, at least two of them (a reflecting border
    needs a neighbour); what is added repeats the last bin and frame.
    """
    bins, frames = x.shape[1:]
    place = torch.linspace(-1, 1, bins, device=x.device, dtype=x.dtype)[None, :, None].expand_as(x)
    more_frames, more_bins = (max(2 * m, -(-n // m) * m) - n for n, m in ((frames, columns), (bins, rows)))
    return F.pad(torch.stack([x, place], 1), (0, more_frames, 0, more_bins), mode="replicate")


class ResNet2d(nn.Module):
    """The CycleGAN paper's generator (c7s1-C, d2C, d4C, R4C..., u2C, uC, c7s1-1) on the spectrum as a
    picture; 6 or 9 blocks and 64 channels are the paper's sizes.

    ``upsampling`` nearest is TimbreTron's: nearest neighbour, then convolution; transposed is the paper's,
    whose checkerboards are heard. A second input channel carries the bin's place.
    """

    stride = 4  # two halvings

    def __init__(self, bins: int, channels: int, blocks: int, upsampling: str = "nearest"):
        super().__init__()
        c = channels
        # Convolutions 7 and 7, the strided and the upsampling ones, the blocks on every 4th frame, the
        # frame's place in its four.
        self.context = (3 + 3) + (1 + 2) * 2 + 8 * blocks + 3

        def down(i: int, o: int) -> list[nn.Module]:
            return [nn.Conv2d(i, o, 3, stride=2, padding=1), ChannelNorm(o), nn.ReLU()]

        def up(i: int, o: int) -> list[nn.Module]:
            if upsampling == "transposed":
                larger = [nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)]
            else:
                larger = [nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1)]
            return [*larger, ChannelNorm(o), nn.ReLU()]

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
        y = self.inner(picture(x, 4, 4))  # (B, F, T) -> (B, 2, F', T') -> (B, C, F', T')
        return self.out(y)[:, 0, :bins, :frames]  # (B, F, T)
