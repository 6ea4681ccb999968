"""Training of both models: the likelihood of samples, or the squared error of spectrograms."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from retimbre.datasets.packed.crops import AudioCrops
from retimbre.datasets.packed.data import Data
from retimbre.nn.wavenet_autoencoder.autoencoder import Autoencoder, companded
from retimbre.systems.nsynth_autoencoder.network import WINDOW, SpectralAutoencoder, log_magnitude, weights
from retimbre.systems.nsynth_autoencoder.params import Params
from retimbre.systems.nsynth_autoencoder.system import Baseline, System
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import average_gradients, check_batch, own_share
from retimbre.training.trainer import OneNetwork
from retimbre.training.wavenet_autoencoder import (
    STREAM,
    ConfusionTrainer,
    SampleCrops,
    described,
    figures,
    heard,
    validation,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without


class BaselineTrainer(OneNetwork):
    """The spectral baseline: weighted squared error, Adam with a momentum of 0.5, as published."""

    def __init__(self, network: SpectralAutoencoder, p: Params, sample_rate: int, fabric: "Fabric"):
        network = network.to(fabric.device).train()
        rate = p.spectral.learning_rate
        super().__init__(network, torch.optim.Adam(network.parameters(), rate, betas=(0.5, 0.999)))
        self.section, self.fabric, self.weights = p.section, fabric, weights(sample_rate).to(fabric.device)

    def step(self, audio: Tensor, domain: Tensor, step: int) -> dict[str, Tensor]:
        """Audio (B, N) of one window, and instruments (B,)."""
        audio, domain = (own_share(self.fabric, x).to(self.fabric.device) for x in (audio, domain))
        z = log_magnitude(audio)
        with self.fabric.autocast():
            loss = (self.weights * (self.network(z, domain) - z).square()).mean()
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        average_gradients(self.fabric, self.network.parameters())
        self.optimiser.step()
        return {f"{self.section}/spectral_mse": loss.detach()}


def fit(data: Data, p: Params, run: Run) -> tuple[System | Baseline, History]:
    """Train the section's model on every domain's training split."""
    torch.manual_seed(run.seed)
    config = described(data.audio, data.audio.domains)
    return (fit_wavenet if p.model == "wavenet" else fit_spectral)(data, p, run, config)


def fit_wavenet(data: Data, p: Params, run: Run, config: dict[str, Any]) -> tuple[System, History]:
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    audio, domains = data.audio, data.audio.domains
    network = Autoencoder(p.network(domains, one_decoder=True, relu_first=True))
    crops = SampleCrops(audio, domains, "train", p, network, run.seed)
    network.decoder(domains[0]).start_head(crops.histogram(p))
    trainer = ConfusionTrainer(network, domains, p, run.fabric)
    held_out = validation(audio, domains, p, network, run.seed)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        samples = crops.batch(step)
        clean = companded(samples)
        return samples, clean, clean, heard(samples, p, run.seed, step)

    def check(done: int) -> dict[str, float]:
        return figures(trainer.result, held_out, domains)

    history = fit_network(p.section, p.steps, trainer, draw, run, validate=check)
    return System(p.section, trainer.result.cpu(), config), history


def fit_spectral(data: Data, p: Params, run: Run, config: dict[str, Any]) -> tuple[Baseline, History]:
    s, audio, domains = p.spectral, data.audio, data.audio.domains
    key = f"{p.section}.spectral.batch_size"
    check_batch(s.batch_size, run.fabric, key, 2)  # batch norm needs two
    shape = {name: getattr(s, name) for name in ("channels", "latent", "instrument")}
    network = SpectralAutoencoder(**shape, domains=len(domains))
    # Domains count the same: each has a stream of crops, and places of a batch take turns.
    size = (WINDOW, -(-s.batch_size // len(domains)), run.seed)
    crops = [AudioCrops(audio, d, "train", *size, STREAM + i) for i, d in enumerate(domains)]
    turns = torch.arange(s.batch_size) % len(domains)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        of_domains = torch.stack([torch.from_numpy(c.batch(step)) for c in crops], 1)
        return of_domains.flatten(0, 1)[: s.batch_size], turns

    trainer = BaselineTrainer(network, p, config["sample_rate"], run.fabric)
    history = fit_network(p.section, s.steps, trainer, draw, run)
    config |= {"spectral": shape, "griffin_lim_iterations": s.griffin_lim_iterations}
    return Baseline(p.section, trainer.network.cpu(), config), history
