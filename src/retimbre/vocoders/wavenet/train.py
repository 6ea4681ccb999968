"""Training of the WaveNet vocoder: crops that can be heard, the network of the params, its step."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.companding import encode_audio
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.nn.wavenet.network import CODES, WaveNet, likelihoods, mean_and_std, shift_right
from retimbre.training.averages import Ema
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.wavenet.codec import Codec, backwards
from retimbre.vocoders.wavenet.params import Params
from retimbre.vocoders.wavenet.vocoder import WaveNetVocoder

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

REDRAWS = 8  # tries to replace a silent crop; then it stays: a silent data set can be trained on too
ANOTHER = 1 << 40  # steps between the batches that replacements are taken from: no training is that long
GRADIENT_NORM = 1.0  # the loss is in nats


def audible_batch(crops: AudioFeatureCrops, step: int, silence_db: float) -> dict[str, torch.Tensor]:
    """Batch number ``step``, crops of a level below ``silence_db`` drawn again; it depends on the step alone.

    Levels are root mean squares in dB of full scale; digital silence counts as -200 dB.
    """
    batch = crops.batch(step)
    for again in range(1, REDRAWS + 1):
        level_db = 20 * batch["audio"].square().mean(-1).sqrt().clamp(min=1e-10).log10()
        silent = level_db.double() < silence_db - 1e-3  # -200 dB, the least there is, excludes none
        if not silent.any():
            break
        other = crops.batch(step + again * ANOTHER)
        for name, x in batch.items():
            batch[name] = torch.where(silent.view(-1, *[1] * (x.dim() - 1)), other[name], x)
    return batch


class WaveNetTrainer(CosineTrainer):
    """``p.ema_decay`` above 0 keeps an average of the weights (``result``), which is what is used then."""

    def __init__(self, network: WaveNet, p: Params, fabric: "Fabric"):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, fabric)
        self.ema = Ema(self.network, p.ema_decay) if p.ema_decay else None

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


def fit(
    data: Data, p: Params, representation: str, run: Run, below: Mapping[str, Renderer]
) -> tuple[WaveNetVocoder, History]:
    """Train on every domain's training split: samples given the spectrum and the domain."""
    check_batch(p.batch_size, run.fabric, "vocoder.wavenet.batch_size")
    features, config = data.features, base_config(data.audio, data.features, representation)
    top_db, low_db = config["top_db"], config["top_db"] - features.config.range_db
    size = (p.crop_frames, p.batch_size, run.seed, 40, "vocoder.wavenet.crop_frames")
    crops = AudioFeatureCrops(data.audio, features, [representation], features.domains, "train", *size)
    codec = Codec(p.preemphasis, p.gain, p.output == "mol", p.reverse)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor]:
        batch = audible_batch(crops, step, p.silence_db)
        heard = batch["audio"].numpy(), batch[representation].clamp(low_db, top_db)
        return *codec.example(*heard), batch["domain"]

    # The output starts as the codes' overall distribution, counted on crops that are not trained on yet.
    counted = [crops.batch(step)["audio"].numpy() for step in range(p.steps, p.steps + 32)]
    codes = [encode_audio(backwards(x) if p.reverse else x, p.preemphasis, p.gain).ravel() for x in counted]
    histogram = torch.from_numpy(np.bincount(np.concatenate(codes), minlength=CODES))
    torch.manual_seed(run.seed)
    names = ("input", "output", "context_layers", "context_channels")
    sizes = (features.config.bins(representation), features.config.hop_length, len(features.domains))
    shape = p.network(*sizes, **{name: getattr(p, name) for name in names})
    network = WaveNet(shape, *mean_and_std(features, representation), histogram)
    trainer = WaveNetTrainer(network, p, run.fabric)
    history = fit_network("wavenet", p.steps, trainer, draw, run)
    options = {"wavenet": shape.to_dict(), "preemphasis": p.preemphasis, "gain": p.gain, "reverse": p.reverse}
    return WaveNetVocoder(trainer.result.cpu(), config | options, below), history
