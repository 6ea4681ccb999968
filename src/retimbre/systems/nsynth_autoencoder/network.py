"""The spectral baseline of Engel et al. 2017: four seconds of a spectrogram as one vector, and back.

The layers are those of the published code (magenta, ``ae_configs/nfft_1024.py``): nine strided convolutions
with batch norm down to one place, a vector for the whole window, and the mirror image. It is told the
instrument where the published one is told the pitch.
"""

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.audio.spectral import stft

N_FFT, HOP = 1024, 256
BINS, FRAMES = 512, 256  # of a window: without the bin at half the sample rate
RANGE_DB = 120.0  # below the level of a sinusoid of full scale
WINDOW = FRAMES * HOP  # samples; they have one frame more, the centre of the next window's first


def log_magnitude(audio: Tensor) -> Tensor:
    """Audio (B, N) to its spectrogram (B, 512, N // 256), 0..1 over 120 dB."""
    magnitude = stft(audio, N_FFT, HOP)[:, :BINS, : audio.shape[1] // HOP].abs() / (N_FFT / 4)
    return 1 + 20 * magnitude.clamp(min=10 ** (-RANGE_DB / 20)).log10() / RANGE_DB


def magnitude(z: Tensor) -> Tensor:
    """The inverse of ``log_magnitude``, with the bin that it leaves out: (B, 513, T) of an STFT."""
    return nnf.pad(10 ** (RANGE_DB / 20 * (z - 1)) * (N_FFT / 4), (0, 0, 0, 1))


def weights(sample_rate: int) -> Tensor:
    """Weight (512, 1) of each bin's squared error: 10 at 0 Hz, falling linearly to 1 at 4 kHz."""
    hz = torch.arange(BINS) * sample_rate / N_FFT
    return (10 - 9 * hz / 4000).clamp(min=1)[:, None]


def _block(before: int, after: int, kernel: int, stride: tuple[int, int], up: bool = False) -> nn.Sequential:
    """Convolution, leaky ReLU and batch norm; sizes divide (or multiply) exactly by the stride."""
    # Taps beyond the stride are shared by both sides, the odd one on the right (as TensorFlow's SAME).
    extra = [max(kernel - s, 0) for s in stride]
    if up:
        padding, more = zip(*(((e + 1) // 2, 2 * ((e + 1) // 2) - e) for e in extra), strict=True)
        layer: nn.Module = nn.ConvTranspose2d(before, after, kernel, stride, padding, more)
        return nn.Sequential(layer, nn.LeakyReLU(0.1), nn.BatchNorm2d(after))
    (top, bottom), (left, right) = ((e // 2, e - e // 2) for e in extra)
    pad = nn.ZeroPad2d((left, right, top, bottom))
    return nn.Sequential(
        pad, nn.Conv2d(before, after, kernel, stride), nn.LeakyReLU(0.1), nn.BatchNorm2d(after)
    )


class SpectralAutoencoder(nn.Module):
    """Spectrograms (B, 512, 256) in 0..1 and instruments (B,) to spectrograms; ``channels`` C of the first
    layer (128 as published), a ``latent`` vector (1984), ``instrument`` numbers that tell the instrument.
    """

    def __init__(self, channels: int, latent: int, instrument: int, domains: int):
        super().__init__()
        C = channels
        both, low = (2, 2), (2, 1)
        down = [(C, 5, both), (C, 4, both), (C, 4, both), (2 * C, 4, both), (2 * C, 4, both)]
        down += [(2 * C, 4, both), (4 * C, 4, both), (4 * C, 4, both), (4 * C, 4, low)]
        down += [(8 * C, 1, (1, 1))]
        up = [(8 * C, 1, (1, 1)), (4 * C, 4, both), (4 * C, 4, both), (2 * C, 4, both), (2 * C, 4, both)]
        up += [(2 * C, 4, both), (C, 4, both), (C, 4, both), (C, 5, both), (C, 5, low)]

        def chain(before: int, sizes: list, ups: bool) -> nn.Sequential:
            widths = [before, *(width for width, _, _ in sizes)]
            pairs = zip(widths[:-1], sizes, strict=True)
            return nn.Sequential(*(_block(w, *size, up=ups) for w, size in pairs))

        self.down = chain(1, down, False)
        self.code = nn.Sequential(nn.Conv2d(8 * C, latent, 1), nn.BatchNorm2d(latent))
        self.instruments = nn.Embedding(domains, instrument)
        self.up = chain(latent + instrument, up, True)
        self.out = nn.Conv2d(C, 1, 1)

    def encode(self, z: Tensor) -> Tensor:
        """Spectrograms (B, 512, 256) to vectors (B, latent)."""
        return self.code(self.down(z[:, None]))[..., 0, 0]

    def decode(self, code: Tensor, domain: Tensor) -> Tensor:
        """Vectors (B, latent) and instruments (B,) to spectrograms (B, 512, 256)."""
        told = torch.cat([code, self.instruments(domain)], 1)
        return torch.sigmoid(self.out(self.up(told[..., None, None])))[:, 0]

    def forward(self, z: Tensor, domain: Tensor) -> Tensor:
        return self.decode(self.encode(z), domain)
