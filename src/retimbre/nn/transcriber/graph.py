"""Content as one graph of torch operations, to be exported: :class:`.content.Content` goes block by block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from retimbre.audio.products import Resampler
from retimbre.nn.transcriber.content import CONTEXT, GAIN, LOUDNESS_RANGE_DB, Content, local_level
from retimbre.nn.transcriber.network import BLOCK, HOP, OCTAVES, SAMPLE_RATE

PYRAMID = BLOCK << OCTAVES  # samples whose multiples fill every octave's rows


class ContentGraph(nn.Module):
    """Audio (B, N) at the features' rate, RMS 0.1, to content (B, C, T): all of it at once."""

    def __init__(self, content: Content):
        super().__init__()
        self.network, self.config = content.network, content.config
        self.resampler = Resampler(self.config.sample_rate, SAMPLE_RATE)

    @property
    def block(self) -> int:
        """Samples whose multiples are resampled to whole numbers of samples."""
        return self.resampler.step

    def posteriors(self, audio: Tensor) -> Tensor:
        """Contours, notes and onsets (B, 440, T) at the features' frames."""
        x = self.resampler(audio * GAIN)
        last, context = x.shape[1] // HOP, CONTEXT * HOP
        blocks = (x.shape[1] + 2 * context + PYRAMID - 1) // PYRAMID
        padded = functional.pad(x, (context, blocks * PYRAMID - context - x.shape[1]))
        heard = torch.cat(self.network.hear(local_level(self.network.cqt(padded))), 1)  # (B, 440, T')
        c = self.config
        at = torch.arange(c.frames(audio.shape[1]), dtype=torch.float64) * c.hop_length / c.sample_rate
        at = (at * SAMPLE_RATE / HOP).clamp(max=last) + CONTEXT
        before = at.long()
        share = (at - before).float()
        return (1 - share) * heard[..., before] + share * heard[..., before + 1]

    def loudness(self, audio: Tensor) -> Tensor:
        """Level of the two hops around each frame's centre (B, 1, T), as :func:`.content.loudness` has it."""
        hop, frames = self.config.hop_length, self.config.frames(audio.shape[1])
        hops = functional.pad(audio, (hop, frames * hop - audio.shape[1])).unflatten(1, (frames + 1, hop))
        power = hops.double().square().mean(2)
        level_db = 10 * torch.log10((power[:, :-1] + power[:, 1:]) / 2 + 1e-10)
        return (2 * level_db / LOUDNESS_RANGE_DB + 1).clamp(-1, 1).float()[:, None]

    def forward(self, audio: Tensor) -> Tensor:
        return torch.cat([self.posteriors(audio), self.loudness(audio)], 1)
