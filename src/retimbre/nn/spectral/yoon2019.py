"""The dissertation's generator body. ``context`` and ``stride`` as in ``nn.spectral.resnet``."""

from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.nn.spectral.resnet import ResidualBlock2d, picture


class Yoon2019(nn.Module):
    """The encoder of the dissertation that this project starts from (Yoon 2019, "The Encoder").

    Known from its text: three strided convolutions, 4 high where the height is even and 3 where it is odd,
    likewise in width; 9 residual layers (6 to 10 were tried); as many transposed convolutions back; ReLU
    everywhere but after the last layer; 16, 32 or 64 filters; 2 to 4 halvings were tried. From its code:
    filters double at every halving, first and last convolution of 7 with reflected borders, tanh at the end,
    every normalisation commented out.

    Ours: the input's second channel (the bin's place); width 4 always, on frames padded to a multiple of 8,
    because a network cannot choose its filters by the length of what it is given; ``upsampling`` nearest as
    another choice. The published form is ``upsampling`` transposed without residual output; in the
    dissertation it muted or copied its input.
    """

    HALVINGS = 3
    stride = 2**HALVINGS

    def __init__(self, bins: int, channels: int, blocks: int, upsampling: str = "nearest"):
        super().__init__()
        c, self.upsampling = channels, upsampling
        self.context = (3 + 3) + 3 * (self.stride - 1) + 2 * self.stride * blocks
        # Of the picture at each level: 84, 42, 21, 11; two at least where borders are reflected.
        self.rows = [max(bins, 9)]
        for _ in range(self.HALVINGS):
            self.rows.append(-(-self.rows[-1] // 2))
        heights = [3 + (rows % 2 == 0) for rows in self.rows[:-1]]
        self.first = nn.Conv2d(2, c, 7, padding=3, padding_mode="reflect")
        self.downs = nn.ModuleList(
            nn.Conv2d(c * 2**level, c * 2 ** (level + 1), (height, 4), stride=2, padding=1)
            for level, height in enumerate(heights)
        )
        self.blocks = nn.Sequential(*[ResidualBlock2d(c * self.stride, norm=False) for _ in range(blocks)])

        def up(level: int, height: int) -> nn.Module:
            i, o = c * 2 ** (level + 1), c * 2**level
            if upsampling == "transposed":
                return nn.ConvTranspose2d(i, o, (height, 4), stride=2, padding=1)
            return nn.Conv2d(i, o, 3, padding=1)

        self.ups = nn.ModuleList(up(level, height) for level, height in enumerate(heights))
        self.out = nn.Conv2d(c, 1, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        bins, frames = x.shape[1:]
        y = picture(x, 1, self.stride)  # (B, 2, F, T')
        y = F.pad(y, (0, 0, 0, self.rows[0] - bins), mode="replicate")
        y = F.relu(self.first(y))
        for down in self.downs:
            y = F.relu(down(y))
        y = self.blocks(y)  # (B, 8 C, F / 8, T' / 8)
        for up, rows in zip(reversed(self.ups), reversed(self.rows[:-1]), strict=True):
            if self.upsampling == "nearest":
                y = F.interpolate(y, size=(rows, 2 * y.shape[3]))
            y = F.relu(up(y))
        return self.out(y)[:, 0, :bins, :frames]  # (B, F, T)
