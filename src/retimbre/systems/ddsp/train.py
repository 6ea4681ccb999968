"""Training: each instrument's decoder learns to play its own single lines again from pitch and loudness."""

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.spectral import stft
from retimbre.datasets.packed.crops import Positions
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import Excerpt, PackedAudio
from retimbre.errors import RetimbreError
from retimbre.systems.ddsp.hearing import Heard, hear, line_share
from retimbre.systems.ddsp.network import Decoder, DecoderConfig
from retimbre.systems.ddsp.params import Params
from retimbre.systems.ddsp.system import System
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

LEAST = 1e-3  # magnitude: below it logarithms do not count
GRADIENT_NORM = 3.0  # DDSP's
Curves = tuple[Tensor, Tensor, Tensor]  # audio (B, N), pitch in Hz (B, T) and loudness in dB (B, T)


def spectral_loss(output: Tensor, target: Tensor, fft_sizes: list[int]) -> dict[str, Tensor]:
    """L1 of magnitudes and of their natural logarithms, audio (B, N), each a mean over the sizes."""
    linear, logarithmic = [], []
    for size in fft_sizes:
        y, x = (stft(audio, size, size // 4).abs() for audio in (output, target))
        linear.append((x - y).abs().mean())
        logarithmic.append((x.clamp(min=LEAST).log() - y.clamp(min=LEAST).log()).abs().mean())
    return {"magnitude": torch.stack(linear).mean(), "log_magnitude": torch.stack(logarithmic).mean()}


class Lines:
    """Crops of an instrument's single lines: audio of ``frames - 1`` hops, pitch and loudness.

    Recordings are heard once, at the start. Raises RetimbreError when too few of them are single lines.
    """

    def __init__(self, audio: PackedAudio, domain: str, hop: int, p: Params, seed: int, stream: int):
        self.audio, self.hop, self.p, self.seed, self.stream = audio, hop, p, seed, stream
        rate = audio.config["sample_rate"]
        self.heard: dict[str, Heard] = {}
        lines: list[Excerpt] = []
        for excerpt in audio.excerpts(domain=domain, split="train"):
            x = audio.read(excerpt)
            heard = hear(x, rate, hop)
            if line_share(x, rate, hop, heard) >= p.single_line:
                self.heard[excerpt.id] = heard
                lines.append(excerpt)
        if not lines:
            raise RetimbreError(
                f"no training recording of {domain} is a single line, which the ddsp system learns from: "
                f"lower dataset.polyphonic_share, or {p.section}.single_line."
            )
        samples = (p.crop_frames - 1) * hop
        named = f"single-line {domain}", f"{p.section}.crop_frames"
        self.positions = Positions(lines, samples + hop, *named, "samples")

    def batch(self, step: int) -> Curves:
        """Batch number ``step``."""
        rng = np.random.default_rng([self.seed, self.stream, step])
        frames, audio, curves = self.p.crop_frames, [], []
        for excerpt, place in self.positions.draw(rng, self.p.batch_size):
            first = place // self.hop  # frames lie on the hops
            audio.append(self.audio.read(excerpt, first * self.hop, (first + frames - 1) * self.hop))
            heard = self.heard[excerpt.id]
            curves.append([x[first : first + frames] for x in heard])
        f0_hz, loudness_db = torch.from_numpy(np.array(curves)).unbind(1)
        return torch.from_numpy(np.stack(audio)), f0_hz, loudness_db


class DdspTrainer(CosineTrainer):
    """All decoders at once, each on crops of its own instrument; they share nothing but the steps."""

    def __init__(self, decoders: nn.ModuleDict, p: Params, run: Run):
        super().__init__(decoders, p.steps, p.learning_rate, GRADIENT_NORM * len(decoders), run.fabric)
        self.p, self.seed = p, run.seed
        self.networks = list(decoders.values())

    def step(self, *batches_and_number: Curves | int) -> dict[str, Tensor]:
        """One batch of crops per decoder, in their order, and the number of the step."""
        *batches, step = batches_and_number
        rng, losses = np.random.default_rng([self.seed, 21, step]), []
        with part("forward"), self.fabric.autocast():
            for decoder, batch in zip(self.networks, batches, strict=True):
                noise = torch.from_numpy(rng.uniform(-1, 1, batch[0].shape).astype(np.float32))
                audio, f0_hz, loudness_db, noise = self.own(*batch, noise)
                output = decoder(f0_hz, loudness_db, noise)
                losses.append(spectral_loss(output, audio, self.p.fft_sizes))
            means = {name: torch.stack([of[name] for of in losses]).mean() for name in losses[0]}
        self.descend(len(losses) * sum(means.values()), step)
        return {f"loss/{name}": value.detach() for name, value in means.items()}


def fit(data: Data, p: Params, run: Run) -> tuple[System, History]:
    """Train a decoder for every domain; returns the system and the history. Continues from ``run.scratch``.

    Raises RetimbreError when a domain has no single lines.
    """
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    audio, hop = data.audio, data.features.config.hop_length
    crops = [Lines(audio, domain, hop, p, run.seed, n) for n, domain in enumerate(audio.domains)]
    shape = DecoderConfig(p.harmonics, p.bands, p.channels, p.layers, hop, audio.config["sample_rate"])
    torch.manual_seed(run.seed)
    decoders = nn.ModuleDict({domain: Decoder(shape) for domain in audio.domains})
    trainer = DdspTrainer(decoders, p, run)
    history = fit_network(p.section, p.steps, trainer, lambda n: [c.batch(n) for c in crops], run)
    config = {"targets": audio.domains, "rms": audio.config["rms"], "decoder": shape.to_dict()}
    return System(p.section, trainer.network, config), history
