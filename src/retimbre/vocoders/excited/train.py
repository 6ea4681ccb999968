"""One training step of the WaveNet with an excitation."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from retimbre.training.timing import part
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, code_bits, mean, previous, residual_bits
from retimbre.vocoders.steps import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

FFT_SIZES = (512, 1024, 2048)
FLOOR = 2e-6  # of full scale times n_fft: log spectra ignore what lies below, about -100 dB
ALONE_WEIGHT = 0.25  # of the likelihood of crops that are heard without their own past


class ExcitedTrainer(Trainer):
    """Half of a batch learns to sample, the other half to be right without sampling.

    One half hears its true past: the likelihood of a WaveNet. The other hears the excitation alone, as at temperature 0, where
    the expected sample is the output. There log spectra are compared (``lambda_spectral``, bits per dB), because a mean square
    alone would only make uncertain bands quieter.
    """

    def __init__(self, network: ExcitedWaveNet, steps: int, learning_rate: float, lambda_spectral: float, fabric: "Fabric"):
        super().__init__("wavenet", network, steps, learning_rate, fabric)
        self.lambda_spectral = lambda_spectral

    def step(self, samples: Tensor, excitation: Tensor, level_db: Tensor, domain: Tensor, step: int) -> dict[str, Tensor]:
        """``samples`` (B, N) and ``excitation`` (B, N + 2 MARGIN) pre-emphasised, ``level_db`` (B, F, T) clipped, ``domain`` (B,)."""
        samples, excitation, level_db, domain = self.own(samples, excitation, level_db, domain)
        taught = torch.arange(len(samples), device=samples.device) % 2 == step % 2  # turns are taken, so that a batch of one learns both
        near = excitation[:, MARGIN:-MARGIN]
        residuals = samples - near
        figures = {}
        with part("forward"), self.fabric.autocast():
            parameters = self.network(previous(residuals) * taught[:, None], excitation, level_db, domain)
            bits = residual_bits(parameters, residuals).mean(1)
            loss = torch.where(taught, bits, ALONE_WEIGHT * bits).sum() / max(1, (len(samples) + 1) // 2)
            if not taught.all():
                alone = ~taught
                made = near[alone] + mean(parameters[alone])
                figures["excited/spectral_db"] = log_spectral_distance(made, samples[alone])
                loss = loss + self.lambda_spectral * figures["excited/spectral_db"]
        self.descend(loss, step)
        with torch.no_grad():
            if not taught.all():
                figures["excited/spectral_db_of_excitation"] = log_spectral_distance(near[alone], samples[alone])
            if taught.any():
                figures["excited/nll_bits"] = code_bits(parameters[taught], samples[taught], near[taught]).mean()
        return {name: value.detach() for name, value in figures.items()}


def log_spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the log magnitude spectra of signals (B, N), in dB, over the FFT sizes that fit into them."""
    sizes = [n for n in FFT_SIZES if n <= a.shape[-1]] or [a.shape[-1]]
    distances = []
    for n in sizes:
        window = torch.hann_window(n, device=a.device)
        levels = [
            20 * torch.log10(torch.stft(x.float(), n, n // 4, window=window, center=False, return_complex=True).abs().clamp(min=FLOOR * n))
            for x in (a, b)
        ]
        distances.append((levels[0] - levels[1]).abs().mean())
    return torch.stack(distances).mean()
