"""Discriminators of the CycleGAN and of pix2pix: networks that tell real spectra from generated ones.

Conventions: spectra are (B, F, T) in -1..1. Each network returns the activations of its layers, the last of
which is its map of scores (B, 1, places in frequency, places in time); a ``Discriminator`` returns one such
list per network.

All see two channels, level and change over time, and have group norm, not batch norm: the scores of one
example do not depend on the others in the batch, which a gradient penalty needs. With spectral norm they
have no other.

Sources: PatchGAN (Isola et al. 2017), the full spectrum and the whole spectrogram (TimbreTron, Huang et al.
2019, which published no layers), frequency as channels (Yoon 2019), several scales (Wang et al. 2018),
spectral norm (Miyato et al. 2018).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm as with_spectral_norm

BANDS = 8  # of the temporal discriminator


class SpectrumDiscriminator(nn.Module, ABC):
    """A stack of stages on one or more spectra (B, F, T) that returns the activations of all of them.

    Subclasses say in ``build`` which stages there are: ``bins`` is F, ``c`` the number of channels,
    ``inputs`` that of the channels of all pictures together. ``outputs``: scores of a place.
    """

    def __init__(
        self, bins: int, channels: int, spectra: int = 1, spectral_norm: bool = False, outputs: int = 1
    ):
        super().__init__()
        self.spectral_norm, self.outputs = spectral_norm, outputs
        self.stages = nn.ModuleList(self.build(bins, channels, 2 * spectra))

    @abstractmethod
    def build(self, bins: int, c: int, inputs: int) -> list[nn.Module]:
        """The stages, the last of which gives the scores."""

    def conv(
        self, i: int, o: int, size: int | tuple[int, int], norm: bool = True, **options: object
    ) -> nn.Module:
        """Convolution, group norm (if wanted, and if no spectral norm is), leaky ReLU."""
        layers: list[nn.Module] = [self.bounded(nn.Conv2d(i, o, size, **options))]  # type: ignore[arg-type]
        if norm and not self.spectral_norm:
            layers.append(nn.GroupNorm(o // 8 if o % 8 == 0 else 1, o))
        return nn.Sequential(*layers, nn.LeakyReLU(0.2))

    def bounded(self, layer: nn.Module) -> nn.Module:
        return with_spectral_norm(layer) if self.spectral_norm else layer

    def score(self, channels: int) -> nn.Module:
        return self.bounded(nn.Conv2d(channels, self.outputs, 1))

    def picture(self, x: Tensor) -> Tensor:
        """(B, F, T) -> (B, 2, F, T): levels, and their changes from frame to frame."""
        change = F.pad(x[:, :, 1:] - x[:, :, :-1], (1, 0))
        return torch.stack([2 * x, 4 * change], 1)

    def forward(self, *spectra: Tensor) -> list[Tensor]:
        activations = [torch.cat([self.picture(x) for x in spectra], 1)]
        for stage in self.stages:
            activations.append(stage(activations[-1]))
        return activations[1:]


class FullSpectrum(SpectrumDiscriminator):
    """Three halvings, then a layer that sees every frequency and 3 places in time, all partials of a note.

    Scores (B, 1, 1, T / 8).
    """

    def height(self, rows: int) -> int:
        return rows

    def build(self, bins: int, c: int, inputs: int) -> list[nn.Module]:
        c //= 4
        return [
            self.conv(inputs, c, 5, norm=False, stride=2, padding=2),
            self.conv(c, 2 * c, 5, stride=2, padding=2),
            self.conv(2 * c, 3 * c, 3, stride=2, padding=1),
            self.conv(3 * c, 4 * c, (self.height(-(-bins // 8)), 3), norm=False, padding=(0, 1)),
            self.score(4 * c),
        ]


class Patch(FullSpectrum):
    """The same without the layer that sees every frequency: each score is for 21 bins and 38 frames.

    Scores (B, 1, F / 8, T / 8).
    """

    def height(self, rows: int) -> int:
        return 1


class Conv1d(SpectrumDiscriminator):
    """Frequency bins as channels, four dilated layers over 31 frames. Scores (B, 1, 1, T).

    The dissertation's kernel, depth and field; its channels are 1024 and more, and it did not converge there.
    """

    def build(self, bins: int, c: int, inputs: int) -> list[nn.Module]:
        layers = [
            self.conv(i, c, (1, 3), norm=n > 0, padding=(0, 2**n), dilation=(1, 2**n))
            for n, i in enumerate([inputs * bins, c, c, c])
        ]
        return [*layers, self.score(c)]

    def picture(self, x: Tensor) -> Tensor:
        return super().picture(x).flatten(1, 2).unsqueeze(2)  # (B, 2 F, 1, T)


class PoolOverTime(nn.Module):
    """(B, C, 1, T) -> (B, 2 C, 1, 1): mean and maximum."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(-1, keepdim=True), x.amax(-1, keepdim=True)], 1)


class Spectrogram(SpectrumDiscriminator):
    """One score for the whole crop (B, 1, 1, 1), as TimbreTron asks for; the layers are ours.

    Four halvings, a layer over every frequency, and the mean and maximum over time before the last two
    layers: crops may have any length.
    """

    def build(self, bins: int, c: int, inputs: int) -> list[nn.Module]:
        c //= 4
        return [
            self.conv(inputs, c, 5, norm=False, stride=2, padding=2),
            self.conv(c, 2 * c, 5, stride=2, padding=2),
            self.conv(2 * c, 3 * c, 3, stride=2, padding=1),
            self.conv(3 * c, 4 * c, 3, stride=2, padding=1),
            self.conv(4 * c, 4 * c, (-(-bins // 16), 3), norm=False, padding=(0, 1)),
            nn.Sequential(PoolOverTime(), self.conv(8 * c, 4 * c, 1, norm=False)),
            self.score(4 * c),
        ]


class Temporal(SpectrumDiscriminator):
    """Attack, decay and vibrato: the course of the mean level in each of 8 bands, without its mean over the
    crop, so that the static spectrum cannot tell the domains apart. All bands share their weights; a third
    input channel says which it is. Scores (B, 1, 8, T / 4), each of 34 frames.
    """

    def build(self, bins: int, c: int, inputs: int) -> list[nn.Module]:
        self.band = -(-bins // BANDS)
        return [
            self.conv(inputs * 3 // 2, c // 2, (1, 5), norm=False, padding=(0, 2)),
            self.conv(c // 2, c, (1, 5), stride=(1, 2), padding=(0, 2)),
            self.conv(c, c, (1, 5), stride=(1, 2), padding=(0, 2)),
            self.conv(c, c, (1, 5), padding=(0, 2)),
            self.score(c),
        ]

    def picture(self, x: Tensor) -> Tensor:
        bands = F.avg_pool2d(x, (self.band, 1), ceil_mode=True)  # (B, bands, T)
        course = bands - bands.mean(-1, keepdim=True)
        place = torch.linspace(-1, 1, bands.shape[1], device=x.device, dtype=x.dtype)[None, :, None]
        return torch.cat([super().picture(course), place.expand_as(bands)[:, None]], 1)  # (B, 3, bands, T)


DISCRIMINATORS: dict[str, type[SpectrumDiscriminator]] = {
    "full_spectrum": FullSpectrum,
    "patch": Patch,
    "conv1d": Conv1d,
    "spectrogram": Spectrogram,
    "temporal": Temporal,
}


class Discriminator(nn.Module):
    """One network, or several that are asked together: all ``kinds``, at all ``scales``.

    At scale s the spectra are averaged over 2^s bins and frames. A ``conditional`` one (pix2pix) sees the
    source too.
    """

    def __init__(
        self,
        bins: int,
        kinds: str | Sequence[str] = "full_spectrum",
        channels: int = 64,
        scales: int = 1,
        spectral_norm: bool = False,
        conditional: bool = False,
    ):
        super().__init__()
        self.conditional, self.kinds = conditional, [kinds] if isinstance(kinds, str) else list(kinds)
        self.networks = nn.ModuleList(
            nn.ModuleList(
                DISCRIMINATORS[kind](-(-bins // 2**scale), channels, 1 + conditional, spectral_norm)
                for kind in self.kinds
            )
            for scale in range(scales)
        )

    def forward(self, x: Tensor, source: Tensor | None = None) -> list[list[Tensor]]:
        """Spectra (B, F, T) and, if conditional, their sources; one list of activations per network."""
        spectra = [x, source] if self.conditional else [x]
        found = []
        for scale, networks in enumerate(self.networks):
            if scale:
                spectra = [F.avg_pool2d(spectrum, 2, ceil_mode=True) for spectrum in spectra]
            found += [network(*spectra) for network in networks]
        return found
