"""Training of the inverse-STFT vocoder: losses on its audio's spectrograms, and perhaps a discriminator's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.features import decibels, normalise
from retimbre.audio.spectral import mel_filters, stft
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.gan import hinge_discriminator, hinge_generator
from retimbre.training.processes import average_gradients, check_batch, own_share
from retimbre.training.timing import part
from retimbre.training.trainer import cosine_rate
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.inverter.consistency import consistency_of
from retimbre.vocoders.inverter.convnext import FLOOR_DB, BandDistance
from retimbre.vocoders.inverter.train import GAIN_DB
from retimbre.vocoders.istft.discriminators import RESOLUTIONS, MultiResolution, feature_matching
from retimbre.vocoders.istft.network import IstftConfig, IstftNet
from retimbre.vocoders.istft.params import Params
from retimbre.vocoders.istft.vocoder import IstftVocoder

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

LEAST = 1e-3  # magnitude: what is 60 dB under 1 does not count, as with the inverter
EDGE_S = 0.064  # of a crop's ends, which are unlike what lies inside a recording
BANDS, BAND_WINDOW, BAND_WEIGHT = 80, (2048, 512), 0.1  # mel bands; samples of window and hop; per dB
LEVELS_RATE = 5  # times the learning rate, while levels alone are fitted
GRADIENT_NORM = {"network": 1.0, "discriminators": 10.0}
MAGNITUDE_SHARE = 0.4  # of the steps, which fit magnitudes alone where there is no inverter to start from


def multi_resolution_loss(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Spectral convergence and L1 of natural log magnitudes of audio (B, N), by Yamamoto et al. 2020.

    Each is a mean over resolutions.
    """
    convergence, logarithmic = [], []
    for n_fft in RESOLUTIONS:
        y, x = (stft(audio, n_fft, n_fft // 4).abs().clamp(min=LEAST) for audio in (output, target))
        convergence.append(((x - y).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).mean())
        logarithmic.append((x.log() - y.log()).abs().mean())
    return {"convergence": torch.stack(convergence).mean(), "log_magnitude": torch.stack(logarithmic).mean()}


class IstftTrainer:
    """The network, its optimiser, and the discriminators' if ``p.adversarial``; ``state_dict`` is complete.

    The first ``magnitude_share`` of the steps fits levels alone, which is quick, the rest the audio. A
    network that begins with the inverter's weights needs none of that.
    """

    def __init__(
        self,
        network: IstftNet,
        p: Params,
        fabric: "Fabric",
        top_db: float,
        range_db: float,
        sample_rate: int,
        seed: int,
        magnitude_share: float = 0.0,
    ):
        self.steps, self.learning_rate, self.fabric, self.seed = p.steps, p.learning_rate, fabric, seed
        self.top_db, self.range_db, self.first_audio_step = top_db, range_db, round(magnitude_share * p.steps)
        hop = network.config.hop_length
        self.edge = max(1, round(EDGE_S * sample_rate / hop))  # frames
        self.weights = {"convergence": 1.0, "log_magnitude": 1.0, "band_lsd_db": BAND_WEIGHT}
        self.weights |= {"adversarial": p.lambda_adversarial, "matching": p.lambda_feature_matching}
        self.band_distance = BandDistance(mel_filters(sample_rate, BAND_WINDOW[0], BANDS)).to(fabric.device)
        self.nets = nn.ModuleDict({"network": network.to(fabric.device).train()})
        if p.adversarial:
            self.nets["discriminators"] = MultiResolution().to(fabric.device).train()
        betas = {"network": (0.9, 0.98), "discriminators": (0.8, 0.99)}
        options = {"weight_decay": 1e-3, "fused": True}
        self.optimisers = {
            name: torch.optim.AdamW(net.parameters(), p.learning_rate, betas[name], **options)
            for name, net in self.nets.items()
        }

    @property
    def networks(self) -> list[nn.Module]:
        return list(self.nets.values())

    @property
    def network(self) -> IstftNet:
        return self.nets["network"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "nets": self.nets.state_dict(),
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.nets.load_state_dict(state["nets"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])

    def _rate(self, step: int) -> float:
        """A warm-up and a cosine for each of the two objectives."""
        first = self.first_audio_step
        if step < first:
            return LEVELS_RATE * self.learning_rate * cosine_rate(step, first)
        return self.learning_rate * cosine_rate(step - first, self.steps - first)

    def _descend(self, name: str, loss: Tensor, step: int) -> None:
        optimiser = self.optimisers[name]
        optimiser.param_groups[0]["lr"] = self._rate(step)
        with part("backward"):
            optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            average_gradients(self.fabric, self.nets[name].parameters())
        with part("optimiser"):
            nn.utils.clip_grad_norm_(self.nets[name].parameters(), GRADIENT_NORM[name])
            optimiser.step()

    def step(self, level_db: Tensor, audio: Tensor, step: int) -> dict[str, Tensor]:
        """``level_db`` (B, F, T) of ``audio`` (B, (T - 1) * hop_length), both moved by one gain per crop."""
        rng = np.random.default_rng([self.seed, 22, step])
        change = torch.from_numpy(rng.uniform(*GAIN_DB, (len(audio), 1)).astype(np.float32))
        # Random phases to start from, as partials have in the midst of a piece: all at zero they would meet
        # again and again, and what was learnt of that would be wrong but for beginnings.
        size = (len(audio), self.network.config.n_fft // 2 + 1, 1)
        phase = torch.from_numpy(rng.uniform(-np.pi, np.pi, size).astype(np.float32))
        z = normalise(level_db + change[..., None], self.top_db, self.range_db)
        moved = (audio * 10 ** (change / 20), z, phase)
        target, z, phase = (own_share(self.fabric, x).to(self.fabric.device) for x in moved)
        if step < self.first_audio_step:
            return self._fit_levels(z, target, step)
        return self._fit_audio(z, target, phase, step)

    def _fit_levels(self, z: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        config = self.network.config
        with part("forward"), self.fabric.autocast():
            made, _ = self.network.spectrum(z)
            true = decibels(stft(target, config.n_fft, config.hop_length).abs())
            inside = slice(self.edge, -self.edge)
            loss = (made.clamp(min=FLOOR_DB) - true.clamp(min=FLOOR_DB))[..., inside].abs().mean()
        self._descend("network", loss / 10, step)  # dB to about the size of the audio's losses
        return {"istft/l1_db": loss.detach()}

    def _fit_audio(self, z: Tensor, target: Tensor, phase: Tensor, step: int) -> dict[str, Tensor]:
        hop = self.network.config.hop_length
        inside = slice(2 * self.edge * hop, -self.edge * hop)  # the phases need some frames to find together
        target = target[:, inside]
        with part("forward"), self.fabric.autocast():
            made = self.network(z, (z.shape[-1] - 1) * hop, phase)[:, inside]
            losses = multi_resolution_loss(made, target)
            spectra = (decibels(stft(x, *BAND_WINDOW).abs()) for x in (made, target))
            losses["band_lsd_db"] = self.band_distance(*spectra)
        if "discriminators" in self.nets:
            losses |= self._adversarial(made, target, step)
        total = sum(self.weights[name] * losses[name] for name in self.weights if name in losses)
        self._descend("network", total, step)
        return {f"istft/{name}": loss.detach() for name, loss in losses.items()}

    def _adversarial(self, made: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminators' own step, then what they say of the network's audio."""
        d = self.nets["discriminators"]
        with part("forward"), self.fabric.autocast():
            pairs = zip(d(target)[0], d(made.detach())[0], strict=True)
            told_apart = torch.stack([hinge_discriminator(real, fake) for real, fake in pairs]).mean()
        self._descend("discriminators", told_apart, step)
        d.requires_grad_(False)
        with part("forward"), self.fabric.autocast():
            (scores, features), (_, true) = d(made), d(target)
            adversarial = torch.stack([hinge_generator(score) for score in scores]).mean()
        d.requires_grad_(True)
        return {
            "adversarial": adversarial,
            "matching": feature_matching(features, true),
            "discriminators": told_apart,
        }


def fit(
    data: Data, p: Params, representation: str, run: Run, below: Mapping[str, Renderer]
) -> tuple[IstftVocoder, History]:
    """Train on every domain's training split: spectra to audio, from the inverter's weights on, if any."""
    features, c = data.features, data.features.config
    config = base_config(data.audio, features, representation)
    inverter = below["inverter"].network
    check_batch(p.batch_size, run.fabric, "vocoder.istft.batch_size")
    size = (p.crop_frames, p.batch_size, run.seed, 50, "vocoder.istft.crop_frames")
    crops = AudioFeatureCrops(data.audio, features, [representation], features.domains, "train", *size)
    torch.manual_seed(run.seed)
    shape = IstftConfig(c.bins(representation), c.hop_length, p.n_fft, p.channels, p.blocks, p.projections)
    network = IstftNet(shape)
    if inverter is not None:
        network.start_at(inverter)
    share = 0.0 if inverter is not None else MAGNITUDE_SHARE
    scale = (config["top_db"], c.range_db, c.sample_rate)
    trainer = IstftTrainer(network, p, run.fabric, *scale, run.seed, share)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        batch = crops.batch(step)
        return batch[representation], batch["audio"]

    history = fit_network("istft", p.steps, trainer, draw, run)
    network.consistency = consistency_of(config, p.n_fft)  # in use alone
    return IstftVocoder(trainer.network.cpu(), config | {"istft": shape.to_dict()}, below), history
