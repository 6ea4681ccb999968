"""Training of the WaveNet on the recordings of all domains, and their styles as it hears them."""

import math

import torch
from torch import Tensor

from retimbre.audio.companding import encode_audio
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data
from retimbre.nn.style import gram
from retimbre.nn.wavenet.network import WaveNet, likelihoods, shift_right
from retimbre.systems.wavenet_activations.network import Listener, nothing, residuals, unconditional
from retimbre.systems.wavenet_activations.params import Params
from retimbre.systems.wavenet_activations.system import System
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

GRADIENT_NORM = 1.0
STYLE_BATCHES = 16  # of each domain, of numbers that no step draws, over which its style is a mean


class UnconditionalTrainer(CosineTrainer):
    """Cross-entropy of the next code."""

    def step(self, codes: Tensor, step: int) -> dict[str, Tensor]:
        (codes,) = self.own(codes)
        conditioning = (x.to(codes.device) for x in nothing(*codes.shape, self.network.config.hop_length))
        with part("forward"), self.fabric.autocast():
            outputs = self.network(shift_right(codes), *conditioning)
            loss, _ = likelihoods(self.network, outputs, codes)
        self.descend(loss, step)
        return {"wavenet/nll_bits": loss.detach() / math.log(2)}


def fit(data: Data, p: Params, run: Run) -> tuple[System, History]:
    """Train on all domains alike; returns the system and the history. Continues from ``run.scratch``."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    audio, features, hop = data.audio, data.features, data.features.config.hop_length

    def crops(domains: list[str], stream: int) -> AudioFeatureCrops:
        size = (p.crop_frames, p.batch_size, run.seed, stream, f"{p.section}.crop_frames")
        return AudioFeatureCrops(audio, features, [], domains, "train", *size)

    def codes(source: AudioFeatureCrops, number: int) -> Tensor:
        x = source.batch(number)["audio"].numpy()
        return torch.from_numpy(encode_audio(x, p.preemphasis, p.gain))

    everybody = crops(features.domains, 50)
    torch.manual_seed(run.seed)
    shape = unconditional(p.layers, p.layers_per_stack, p.residual_channels, p.skip_channels, hop)
    trainer = UnconditionalTrainer(WaveNet(shape), p.steps, p.learning_rate, GRADIENT_NORM, run.fabric)
    history = fit_network(p.section, p.steps, trainer, lambda number: (codes(everybody, number),), run)
    listener = Listener(trainer.network.cpu().eval(), len(features.domains), len(p.style_layers))
    with torch.no_grad():
        for place, domain in enumerate(features.domains):
            own = crops([domain], 51 + place)
            for n in range(STYLE_BATCHES):
                heard = codes(own, p.steps + n)
                found = residuals(listener.network, listener.network.embedding(heard))
                grams = torch.stack([gram(found[layer].mT).mean(0) for layer in p.style_layers])
                listener.styles[place] += grams / STYLE_BATCHES
    names = {"preemphasis", "gain", "style_layers", "content_layer", "style", "content", "iterations", "rate"}
    described = {
        "targets": features.domains,
        "rms": audio.config["rms"],
        "sample_rate": audio.config["sample_rate"],
    }
    return System(p.section, listener, described | p.model_dump(include=names)), history
