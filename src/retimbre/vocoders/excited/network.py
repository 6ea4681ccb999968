"""A WaveNet that hears an excitation: a waveform made from the same spectrum, already in tune and in time.

A spectrum alone teaches a small WaveNet loudness and colour, hardly pitch. Here it predicts what must be
added to an excitation (the spectral inverter's waveform, phases by Griffin-Lim) to become the recording, so
the notes are there from the first step. This is the source of a neural source-filter model (Wang, Takaki
and Yamagishi 2019) in an autoregressive network; that the target must be put in phase with the excitation
first (``vocoder.py``) was found here: without it the network ignores the waveform, whose phases are
invented.

The distribution of a sample is a mixture of logistics around the excitation's own sample. Scales are
relative to the excitation's level nearby, and means to the scales, so soft and loud passages look alike.
Axis letters as in ``nn.wavenet.network``; C features of the excitation, K logistics.
"""

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.nn.wavenet import mixture
from retimbre.nn.wavenet.network import WaveNet, check_features
from retimbre.nn.wavenet.options import CODES, WaveNetConfig
from retimbre.vocoders.excited.params import MARGIN

PAST, FUTURE = 63, 64  # samples of the excitation before and after the predicted one that features look at
RADIUS = MARGIN - FUTURE  # 256 samples on either side over which the excitation's level is taken
CHANNELS = 32  # C
SILENCE = 1e-8  # power, 80 dB below full scale: keeps the excitation's level above zero
RELATIVE_SCALES = (-9.0, 3.0)  # natural logarithm of a logistic's scale over the excitation's level
FEEDBACK = 2  # what the network is told of the last sample


class ExcitedWaveNet(WaveNet):
    """Distribution of the next residual: the recording minus the excitation, both pre-emphasised.

    ``config.output`` must be "mol", ``config.input`` "scalar", without a context stack.
    """

    def __init__(self, config: WaveNetConfig, mean_db: Tensor | None = None, std_db: Tensor | None = None):
        if config.output != "mol" or config.input != "scalar" or config.context_layers:
            needed = "input scalar, output mol and no context stack"
            raise RetimbreError(f"a WaveNet with an excitation needs {needed}.")
        super().__init__(config, mean_db, std_db)
        R, S, K = config.residual_channels, config.skip_channels, config.mixtures
        self.amplitude = nn.Linear(FEEDBACK, R, bias=False)
        self.window = nn.Conv1d(3, CHANNELS, PAST + 1 + FUTURE)
        self.excitation_input = nn.Linear(CHANNELS + 3, R)
        self.excitation_skip = nn.Linear(CHANNELS + 3, S)
        with torch.no_grad():
            self.window.weight.mul_(1.5)
            self.head_output.weight[K : 2 * K] = 0  # it begins as the excitation itself
            log_scales = torch.linspace(-2.0, -0.5, K) if K > 1 else torch.tensor([-1.2])
            self.head_output.bias.copy_(torch.cat([torch.zeros(2 * K), log_scales]))

    def excite(self, excitation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares of an excitation (B, N + 2 MARGIN) in first layer's input and skip sum, and its level.

        (B, N, R), (B, N, S) and (B, N + 1): root mean square around each sample, beginning with the sample
        before the first.
        """
        power = nnf.avg_pool1d(excitation.square()[:, None], 2 * RADIUS + 1, 1)[:, 0]
        level = (power + SILENCE).sqrt()[:, FUTURE - PAST :]  # B, N + PAST + FUTURE: the window's reach
        near = excitation[:, MARGIN - PAST : -RADIUS]
        signals = torch.stack([compand(near), 0.5 * near / level, 0.3 * torch.log(level) + 1], 1)
        h = torch.cat([nnf.gelu(self.window(signals)), signals[..., PAST:-FUTURE]], 1)
        h = h.transpose(1, 2)  # B, N, C + 3
        return self.excitation_input(h), self.excitation_skip(h), level[:, PAST - 1 : -FUTURE]

    def input_rows(self, codes: Tensor) -> Tensor:
        """Nothing: samples are heard as they are (``feedback``), not as codes."""
        return torch.zeros(1, device=codes.device).expand(*codes.shape, self.config.residual_channels)

    def forward(  # type: ignore[override]
        self, residuals: Tensor, excitation: Tensor, features: Tensor, domain: Tensor, start: int = 0
    ) -> Tensor:
        """Parameters (B, N, 3 K) of the residuals' mixtures.

        ``residuals`` (B, N) are those of the PREVIOUS samples (``previous`` makes them), ``excitation`` (B,
        N + 2 MARGIN) reaches MARGIN samples further on both sides (zeros beyond the ends of a signal),
        ``features`` (B, F, T) and ``domain`` (B,) as in ``WaveNet``. ``start``: the sample at which these
        begin, a multiple of ``config.hold_length``.
        """
        c = self.config
        B, N = residuals.shape
        check_features(c, features, start + N)
        wide = N + 2 * MARGIN
        if excitation.shape != (B, wide):
            raise RetimbreError(f"{N} samples need an excitation of {wide}, not {tuple(excitation.shape)}.")
        first, stop = start // c.hold_length, math.ceil((start + N) / c.hold_length)
        missing = (stop - first) * c.hold_length - N
        residuals, excitation = nnf.pad(residuals, (0, missing)), nnf.pad(excitation, (0, missing))
        x, skip, level = self.excite(excitation)
        x = x + self.amplitude(feedback(residuals, excitation[:, MARGIN - 1 : -MARGIN - 1], level[:, :-1]))
        gates = self.conditioning_projection(self.segments(features, domain, first, stop))
        gates = gates.view(B, stop - first, c.layers, -1)
        return locate(self.predict(x, gates, sample_skip=skip), level[:, 1:])[:, :N]


def compand(x: Tensor) -> Tensor:
    """mu-law, without its steps."""
    return x.sign() * torch.log1p(x.abs() * (CODES - 1)) / math.log(CODES)


def feedback(residuals: Tensor, excitation: Tensor, level: Tensor) -> Tensor:
    """Samples (B, N) as they are heard: companded, and residuals relative to the level: (B, N, 2)."""
    return torch.stack([compand(excitation + residuals), torch.asinh(2 * residuals / level)], -1)


def locate(outputs: Tensor, level: Tensor) -> Tensor:
    """Parameters for ``mixture`` from outputs (B, N, 3 K) that are relative to a level (B, N)."""
    weights, means, log_scales = outputs.float().chunk(3, -1)
    log_scales = log_scales.clamp(*RELATIVE_SCALES) + torch.log(level)[..., None]
    log_scales = log_scales.clamp(min=mixture.LEAST_LOG_SCALE)
    return torch.cat([weights, means * torch.exp(log_scales), log_scales], -1)


def previous(residuals: Tensor) -> Tensor:
    """Residuals (B, N) -> those of the previous samples, silence before the first."""
    return nnf.pad(residuals[:, :-1], (1, 0))


def mean(parameters: Tensor) -> Tensor:
    """Expected residual (B, N) of a mixture's parameters (B, N, 3 K)."""
    weights, means, _ = parameters.chunk(3, -1)
    return (torch.softmax(weights, -1) * means).sum(-1)


def residual_bits(parameters: Tensor, residuals: Tensor) -> Tensor:
    """Bits (B, N) that residuals take on the grid of 16-bit audio."""
    low, high = residuals - mixture.HALF_STEP, residuals + mixture.HALF_STEP
    return -mixture.log_mass(parameters, low, high) / math.log(2)


def code_bits(parameters: Tensor, samples: Tensor, excitation: Tensor) -> Tensor:
    """Bits (B, N) of the 8-bit mu-law codes of ``samples``, given the excitation at them.

    This is the unit of every WaveNet. With another excitation (a semitone up) the same samples are asked
    for, so differences are those of one likelihood.
    """
    edges = mixture.mu_law_edges().to(samples.device)
    cell = mixture.mu_law_encode(samples)
    low, high = edges[cell] - excitation, edges[cell + 1] - excitation
    return -mixture.log_mass(parameters, low, high) / math.log(2)
