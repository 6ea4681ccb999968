"""The generator of WaveGAN: a DCGAN in one dimension, and a filter that may follow it."""

from dataclasses import dataclass

from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.synthesis.dcgan import DcganConfig, Generator
from retimbre.synthesis.wavegan.params import Params

LAYERS, KERNEL, STRIDE = 5, 25, 4
WIDTHS = (16, 8, 4, 2, 1)  # channels that the generator's layers read, relative to those of the last


@dataclass(frozen=True)
class WaveConfig(DcganConfig):
    """``post_filter``: samples of a learnt filter behind the generator, 0 for none."""

    post_filter: int = 0


def config(samples: int, p: Params) -> WaveConfig:
    """The published shape, for notes of some length. Raises RetimbreError for one that has no whole start."""
    if samples % STRIDE**LAYERS:
        raise RetimbreError(
            f"the notes have {samples} samples: WaveGAN makes a multiple of {STRIDE**LAYERS}, such as 16384."
        )
    widths = tuple(p.channels * width for width in WIDTHS)
    return WaveConfig(
        start=(samples // STRIDE**LAYERS,),
        kernel=(KERNEL,),
        stride=(STRIDE,),
        widths=widths,
        critic_widths=widths[::-1],
        **p.shape,
        post_filter=p.post_filter,
    )


class WaveGenerator(Generator):
    """Latents (B, Z) to audio (B, 1, N).

    The filter can take out the pitched noise that upsampling leaves alike in all examples.
    """

    def __init__(self, config: WaveConfig):
        super().__init__(config)
        self.filter = None
        if config.post_filter:
            self.filter = nn.Conv1d(1, 1, config.post_filter, padding="same", bias=False)
            nn.init.xavier_uniform_(self.filter.weight)

    def forward(self, z: Tensor) -> Tensor:
        x = super().forward(z)
        return x if self.filter is None else self.filter(x)
