"""Griffin-Lim on the inverter's magnitudes as one graph of torch operations, to be exported."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from retimbre.audio.features import FLOOR, magnitude
from retimbre.audio.low_band import splice
from retimbre.audio.peaks import constant_q_phase, spsi_phase
from retimbre.audio.spectral import griffin_lim, stft

if TYPE_CHECKING:
    from retimbre.vocoders.inverter.vocoder import Inverter


class Graph(nn.Module):
    """Spectra in dB (B, F, T) to audio (B, ``length``): the inverter's way without a source."""

    def __init__(self, inverter: "Inverter"):
        super().__init__()
        self.inverter, self.network = inverter, inverter.network
        self.inverse = inverter.low_band.inverse if inverter.low_band else None

    def low(self, spectrum_db: Tensor, length: int) -> Tensor:
        """Signal (B, N) of the low constant-Q bins (``audio.low_band``)."""
        band, c = self.inverter.low_band, self.inverter.features
        level = spectrum_db[:, : band.bins]
        above = (magnitude(level) - magnitude(self.inverter.floor_db)).clamp(min=FLOOR)
        hop_s = c.hop_length / c.sample_rate
        phase = constant_q_phase(20 * torch.log10(above), c.cqt_fmin_hz, c.cqt_bins_per_octave, hop_s)
        iterations = self.inverter.settings.low_band_iterations
        return self.inverse.griffin_lim(above, length, iterations, initial_phase=phase)

    def forward(self, spectrum_db: Tensor, length: int) -> Tensor:
        inverter, c = self.inverter, self.inverter.features
        n_fft, hop = c.stft_n_fft, c.hop_length
        spectrum = inverter.magnitudes(spectrum_db)
        phase = spsi_phase(spectrum, n_fft, hop)
        if self.inverse is not None:
            low = stft(self.low(spectrum_db, length), n_fft, hop)
            edge = (inverter.low_band.crossover_hz, c.sample_rate / n_fft)
            spectrum, phase = splice(spectrum, phase, low, *edge)
        iterations = inverter.settings.iterations
        return griffin_lim(spectrum, n_fft, hop, length, iterations, initial_phase=phase)
