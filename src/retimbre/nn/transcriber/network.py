"""basic-pitch's network in torch: which pitches sound, and since when, whatever instrument plays.

Bittner et al., "A lightweight instrument-agnostic model for polyphonic note transcription and multipitch
estimation", ICASSP 2022. 17 thousand trained weights look at a constant-Q spectrum through a stack of its own
harmonics. Weights and fixed filters come from the ONNX file of the basic-pitch 0.4.0 wheel (Apache-2.0,
``LICENSE.basic-pitch``): batch norms are folded into the convolutions, kernels turned to (F, T). A test holds
that onnxruntime says the same.

B batch, C channels, F bins of the spectrum or pitches, T frames, N samples.
"""

from importlib import resources
from typing import NamedTuple

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 22050
HOP = 256  # samples between frames, of which frame t is centred on sample t * HOP
BINS_PER_OCTAVE = 36
BINS, CONTOURS, NOTES = 309, 264, 88  # of the spectrum; pitches in thirds of a semitone, in semitones
OCTAVES = -(-BINS // BINS_PER_OCTAVE)
REACH = 10  # frames of spectrum to each side that a posterior depends on
TAPS = 256  # of every kernel and of the low-pass filter
BLOCK = 32  # samples that one row of the product makes that halves the rate
FLOOR = 1e-10  # power, -100 dB
# Bins from a pitch to half its frequency, itself, twice ... 7 times.
HARMONICS = (-36, 0, 36, 57, 72, 84, 93, 101)


class Posteriors(NamedTuple):
    """Probabilities that a pitch sounds, that a note does, and that it begins here.

    Note k is MIDI pitch 21 + k. A pitch of f Hz peaks at contour 36 log2(f / 27.5) + 1, one above its bin of
    the spectrum: the published weights put a note into the middle of its three contours.
    """

    contours: Tensor  # (B, 264, T)
    notes: Tensor  # (B, 88, T)
    onsets: Tensor  # (B, 88, T)


class ConstantQ(nn.Module):
    """Constant-Q power in dB of audio at 22,050 Hz: (B, N) to (B, 309, N // 256 + 1).

    nnAudio's CQT2010v2, as the network was trained with: the kernels of one octave on a pyramid of half-rate
    signals, mirrored at the ends. :class:`retimbre.audio.cqt.ConstantQ` differs by 0.07 dB, which moves
    posteriors by up to 0.03: too much for a transcriber that is to be the published one. It computes in
    double precision: empty bins near the floor hear the rounding of float32, which differs between chunks
    and between runtimes and moves posteriors by up to 0.0004.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("real", torch.empty(BINS_PER_OCTAVE, TAPS))
        self.register_buffer("imaginary", torch.empty(BINS_PER_OCTAVE, TAPS))
        self.register_buffer("low_pass", torch.empty(TAPS))
        self.register_buffer("scale", torch.empty(BINS, 1))  # square root of each kernel's length

    def forward(self, audio: Tensor) -> Tensor:
        x, octaves = audio.double(), []  # (B, N)
        for octave in range(OCTAVES):
            if octave:
                x = self._halve(x)  # (B, N / 2^octave)
            mirrored = functional.pad(x[:, None], (TAPS // 2, TAPS // 2), "reflect")[:, 0]
            frames = mirrored.unfold(1, TAPS, HOP >> octave)  # (B, T, 256)
            real, imaginary = (frames @ kernels.double().T for kernels in (self.real, self.imaginary))
            octaves.insert(0, real.square() + imaginary.square())  # (B, T, 36)
        power = torch.cat(octaves, 2)[..., -BINS:].mT * self.scale.square()  # (B, 309, T)
        return 10 * torch.log10(power + FLOOR).float()

    def _halve(self, x: Tensor) -> Tensor:
        """Low-pass filter and every other sample: (B, N) to (B, N // 2).

        As a product of matrices: a convolution with one channel is eight times slower.
        """
        taps = [functional.pad(self.low_pass.double(), (2 * n, 2 * (BLOCK - 1 - n))) for n in range(BLOCK)]
        matrix = torch.stack(taps, 1)  # (TAPS + 2 * BLOCK - 2, BLOCK): a column for each sample of a block
        samples = x.shape[1] // 2
        behind = (samples + BLOCK - 1) // BLOCK * 2 * BLOCK - x.shape[1] + TAPS // 2 - 1
        rows = functional.pad(x, (TAPS // 2 - 1, behind)).unfold(1, len(matrix), 2 * BLOCK)
        return (rows @ matrix).flatten(1)[:, :samples]


def harmonic_stack(x: Tensor) -> Tensor:
    """Harmonics of every pitch as its channels: (B, 1, 309, T) to (B, 8, 264, T)."""
    below, above = -min(HARMONICS), max(HARMONICS)
    x = functional.pad(x, (0, 0, below, above))
    return torch.cat([x[:, :, below + h : below + h + CONTOURS] for h in HARMONICS], 1)


class Transcriber(nn.Module):
    """Audio (B, N) at 22,050 Hz, peak 0.9, to :class:`Posteriors` with T = N // 256 + 1; differentiable.

    It hears at least 33,000 samples: the pyramid's lowest octave must be longer than what is mirrored.
    """

    def __init__(self):
        super().__init__()
        self.cqt = ConstantQ()
        self.gain, self.offset = nn.Parameter(torch.empty(1)), nn.Parameter(torch.empty(1))
        self.contour = nn.Sequential(
            nn.Conv2d(8, 8, (39, 3), padding=(19, 1)), nn.ReLU(), nn.Conv2d(8, 1, 5, padding=2), nn.Sigmoid()
        )
        self.note = nn.Sequential(
            nn.Conv2d(1, 32, 7, stride=(3, 1), padding=(2, 3)),
            nn.ReLU(),
            nn.Conv2d(32, 1, (3, 7), padding=(1, 3)),
            nn.Sigmoid(),
        )
        self.attack = nn.Sequential(nn.Conv2d(8, 32, 5, stride=(3, 1), padding=(1, 2)), nn.ReLU())
        self.onset = nn.Sequential(nn.Conv2d(33, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, audio: Tensor) -> Posteriors:
        spectrum = self.cqt(audio)  # (B, 309, T)
        low, high = spectrum.amin((1, 2), keepdim=True), spectrum.amax((1, 2), keepdim=True)
        return self.hear((spectrum - low) / (high - low).clamp(min=1e-9))

    def hear(self, spectrum: Tensor) -> Posteriors:
        """Posteriors of a constant-Q spectrum (B, 309, T) that was brought to 0 ... 1."""
        harmonics = harmonic_stack((spectrum * self.gain + self.offset)[:, None])  # (B, 8, 264, T)
        contours = self.contour(harmonics)  # (B, 1, 264, T)
        notes = self.note(contours)  # (B, 1, 88, T)
        onsets = self.onset(torch.cat([notes, self.attack(harmonics)], 1))  # (B, 1, 88, T)
        return Posteriors(contours[:, 0], notes[:, 0], onsets[:, 0])


def pretrained() -> Transcriber:
    """basic-pitch with its published weights, in evaluation mode, its parameters frozen."""
    network = Transcriber()
    network.load_state_dict(
        load(resources.files(__package__).joinpath("basic_pitch.safetensors").read_bytes())
    )
    return network.eval().requires_grad_(False)
