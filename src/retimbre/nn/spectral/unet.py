"""The U-Net body of pix2pix on the spectrum as a picture; ``context``, ``stride``: as in ``resnet``."""

import torch
from torch import Tensor, nn

from retimbre.nn.spectral.resnet import ChannelNorm, picture


class UNet(nn.Module):
    """``halvings`` strided convolutions down, as many steps up, each joined with the level it came from.

    Isola et al. 2017: convolutions of 4 with stride 2, channels doubled up to 8 times, leaky slope 0.2
    downwards. Two things differ, so that a recording may be cut into chunks: layer norm over the channels in
    the place of batch norm, and no dropout at use. The published size is 8 halvings of 64 channels for 256 x
    256. Bins and frames are padded to multiples of 2^halvings, two at least: 188 bins to 192 by 5 or 6
    halvings, to 256 by 7, to 512 by 8.
    """

    def __init__(self, bins: int, channels: int, halvings: int, upsampling: str = "nearest"):
        super().__init__()
        self.stride = 2**halvings
        # Down, up, and the frame's place in its 2^halvings; the last convolution.
        self.context = 3 * (self.stride - 1) + 1
        sizes = [channels * min(2**i, 8) for i in range(halvings)]
        self.downs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 4, stride=2, padding=1),
                *([ChannelNorm(o)] if level else []),
                nn.LeakyReLU(0.2),
            )
            for level, (i, o) in enumerate(zip([2, *sizes], sizes, strict=False))
        )

        def up(i: int, o: int) -> nn.Module:
            if upsampling == "transposed":
                layers = [nn.ConvTranspose2d(i, o, 4, stride=2, padding=1)]
            else:
                layers = [nn.Upsample(scale_factor=2), nn.Conv2d(i, o, 3, padding=1)]
            return nn.Sequential(*layers, ChannelNorm(o), nn.ReLU())

        joined = [2 * size for size in sizes[:-1]] + [sizes[-1]]  # the deepest has no level to be joined with
        self.ups = nn.ModuleList(up(i, o) for i, o in zip(joined, [channels, *sizes], strict=False))
        self.out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        bins, frames = x.shape[1:]
        levels = [picture(x, self.stride, self.stride)]  # (B, 2, F', T')
        for down in self.downs:
            levels.append(down(levels[-1]))  # (B, C, F' / 2, T' / 2) ...
        y = levels.pop()
        for up in reversed(self.ups):
            y = up(y)
            if len(levels) > 1:
                y = torch.cat([y, levels.pop()], 1)
        return self.out(y)[:, 0, :bins, :frames]  # (B, F, T)
