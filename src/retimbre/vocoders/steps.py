"""One training step each of the spectral inverter and of the WaveNet."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retimbre.audio.features import normalise
from retimbre.nn.wavenet import mixture
from retimbre.nn.wavenet.network import WaveNet, shift_right
from retimbre.training.averages import Ema
from retimbre.training.processes import average_gradients, own_share
from retimbre.training.timing import part
from retimbre.vocoders.inverter.network import BandDistance, SpectralInverter, inverter_loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

WARM_UP_STEPS = 50
LEVEL_CHANGE_DB = (-12.0, 3.0)  # random gain of training crops: transferred music is not levelled
GRADIENT_NORM = {"inverter": 10.0, "wavenet": 1.0}  # the inverter's loss is in dB, the WaveNet's in nats


def cosine_rate(step: int, steps: int) -> float:
    """Linear warm-up over 50 steps, then a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))


class Trainer:
    """A network, AdamW and its schedule; ``state_dict`` is complete. Of several processes each is given the whole batch."""

    def __init__(self, kind: str, network: nn.Module, steps: int, learning_rate: float, fabric: "Fabric"):
        self.kind, self.steps, self.learning_rate, self.fabric = kind, steps, learning_rate, fabric
        self.network = network.to(fabric.device).train()
        self.optimiser = torch.optim.AdamW(network.parameters(), learning_rate, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)

    def own(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """This process's share of every tensor (B, ...) of a batch, on its device."""
        return tuple(own_share(self.fabric, x).to(self.fabric.device) for x in batch)

    def descend(self, loss: Tensor, step: int) -> None:
        self.optimiser.param_groups[0]["lr"] = self.learning_rate * cosine_rate(step, self.steps)
        with part("backward"):
            self.optimiser.zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            average_gradients(self.fabric, self.network.parameters())
        with part("optimiser"):
            nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM[self.kind])
            self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


class InverterTrainer(Trainer):
    """Features in dB to STFT levels in dB, both moved by one random gain per crop.

    ``bands`` (M, K): filters of the loss's second term, which counts ``band_weight`` times.
    """

    def __init__(
        self,
        network: SpectralInverter,
        steps: int,
        learning_rate: float,
        fabric: "Fabric",
        top_db: float,
        range_db: float,
        seed: int,
        bands: Tensor,
        band_weight: float,
    ):
        super().__init__("inverter", network, steps, learning_rate, fabric)
        self.top_db, self.range_db, self.seed = top_db, range_db, seed
        self.band_distance, self.band_weight = BandDistance(bands).to(fabric.device), band_weight

    def step(self, feature_db: Tensor, stft_db: Tensor, step: int) -> dict[str, Tensor]:
        """``feature_db`` (B, F, T) and ``stft_db`` (B, K, T) of the same audio."""
        rng = np.random.default_rng([self.seed, 21, step])
        change = torch.from_numpy(rng.uniform(*LEVEL_CHANGE_DB, (len(feature_db), 1, 1)).astype(np.float32))
        z, target = self.own(normalise(feature_db + change, self.top_db, self.range_db), stft_db + change)
        with part("forward"), self.fabric.autocast():
            predicted = self.network(z)
            losses = {"inverter/l1_db": inverter_loss(predicted, target)}
        loss = losses["inverter/l1_db"]
        if self.band_weight:
            losses["inverter/band_lsd_db"] = self.band_distance(predicted, target)
            loss = loss + self.band_weight * losses["inverter/band_lsd_db"]
        self.descend(loss, step)
        return {name: value.detach() for name, value in losses.items()}


def likelihoods(network: WaveNet, outputs: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy in nats per sample of ``outputs`` (B, N, O) given ``codes`` (B, N): the network's own loss, and of 256 mu-law codes.

    They differ for a mixture of logistics alone, whose own grid has 16 bits; the second may be compared between all networks.
    """
    if network.config.output == "softmax":
        loss = F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), codes.reshape(-1))
        return loss, loss
    loss = -mixture.log_mass(outputs, *mixture.pcm_cell(codes)).mean()
    with torch.no_grad():
        return loss, -mixture.log_mass(outputs, *mixture.code_cells(codes)).mean()


class WaveNetTrainer(Trainer):
    """``ema_decay`` above 0 keeps an average of the weights (``result``), which is what is used then."""

    def __init__(self, network: WaveNet, steps: int, learning_rate: float, fabric: "Fabric", ema_decay: float = 0.0):
        super().__init__("wavenet", network, steps, learning_rate, fabric)
        self.ema = Ema(self.network, ema_decay) if ema_decay else None

    @property
    def result(self) -> WaveNet:
        return self.ema.module if self.ema else self.network

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | ({"ema": self.ema.module.state_dict()} if self.ema else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])

    def step(self, codes: Tensor, level_db: Tensor, domain: Tensor, step: int) -> dict[str, Tensor]:
        codes, level_db, domain = self.own(codes, level_db, domain)
        with part("forward"), self.fabric.autocast():
            outputs = self.network(shift_right(codes, self.network.config.silence), level_db, domain)
            loss, of_codes = likelihoods(self.network, outputs, codes)
        self.descend(loss, step)
        if self.ema:
            self.ema.update(self.network, step)
        bits = {"wavenet/nll_bits": of_codes.detach() / math.log(2)}
        return bits if loss is of_codes else bits | {"wavenet/nll_bits_16": loss.detach() / math.log(2)}
