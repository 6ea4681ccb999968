"""Conditioning from frames to segments, four of which make a frame, in three published ways.

Frame t is centred on segment edge 4 t, so the middle of segment m lies at (m + 1/2) / 4 frames. Segments
after the last frame hold that frame. No way looks further than one frame to either side, so a cut of the
frames gives the same segments.
"""

import torch
from torch import Tensor, nn

from retimbre.nn.wavenet.options import SEGMENTS_PER_FRAME


def nearest(h: Tensor, start: int, stop: int, first: int, T: int) -> Tensor:
    """Every segment repeats the frame nearest to it. Shapes as in ``linear``."""
    frame = (_position(start, stop, h) + 0.5).long().clamp(max=T - 1)
    return h[..., frame - first]


def linear(h: Tensor, start: int, stop: int, first: int, T: int) -> Tensor:
    """Segments ``start:stop``, linearly between the frames around their middle.

    ``h`` (B, H, frames) are frames ``first`` onward of T -> (B, H, stop - start).
    """
    position = _position(start, stop, h)
    before = position.long().clamp(max=T - 1)
    weight = (position - before).clamp(max=1.0).to(h.dtype)
    after = (before + 1).clamp(max=T - 1)
    return h[..., before - first] * (1 - weight) + h[..., after - first] * weight


class Transposed(nn.Module):
    """Learned transposed convolution, each channel for itself, two frames wide.

    van den Oord et al. 2016: y = f(h). It starts as the linear interpolation.
    """

    def __init__(self, channels: int):
        super().__init__()
        S, each = SEGMENTS_PER_FRAME, {"groups": channels, "bias": False}
        self.convolution = nn.ConvTranspose1d(channels, channels, 2 * S, stride=S, padding=S, **each)
        rise = (torch.arange(S) + 0.5) / S
        with torch.no_grad():
            self.convolution.weight.copy_(torch.cat([rise, rise.flip(0)]).expand_as(self.convolution.weight))

    def forward(self, h: Tensor, start: int, stop: int, first: int, T: int) -> Tensor:
        """Shapes as in ``linear``."""
        if first + h.shape[-1] == T:
            h = torch.cat([h, h[..., -1:]], -1)  # the last frame is held
        cut = SEGMENTS_PER_FRAME * first
        return self.convolution(h)[..., start - cut : stop - cut]


def _position(start: int, stop: int, h: Tensor) -> Tensor:
    """Middles of the segments in frames."""
    return (torch.arange(start, stop, device=h.device) + 0.5) / SEGMENTS_PER_FRAME
