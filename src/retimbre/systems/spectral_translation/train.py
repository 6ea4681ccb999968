"""Training: the critic finds the instrument in E's output, then E and WaveNets step against it, in turn."""

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.features import normalise
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.errors import RetimbreError
from retimbre.nn.spectral.generators import GeneratorConfig
from retimbre.nn.wavenet.options import SEGMENTS_PER_FRAME
from retimbre.nn.wavenet_autoencoder.autoencoder import histogram
from retimbre.systems.spectral_translation.hearing import Hearing, companded_spectra
from retimbre.systems.spectral_translation.network import Critic, Translator, TranslatorConfig
from retimbre.systems.spectral_translation.params import Params
from retimbre.systems.spectral_translation.system import System
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.wavenet_autoencoder import COUNTED, STREAM, VALIDATED, ConfusionTrainer, heard


class Crops:
    """Crops of every domain: mu-law codes (B, D, N) of the frames that are played, spectra (B, D, F, T)."""

    def __init__(
        self, data: Data, split: str, p: Params, network: Translator, hearing: Hearing, seed: int,
        batch_size: int,
    ):  # fmt: skip
        self.p, self.network, self.hearing, c = p, network, hearing, hearing.features
        stored = [] if hearing.companded else ["cqt"]
        self.crops = [
            AudioFeatureCrops(
                data.audio, data.features, stored, [domain], split, p.crop_frames, batch_size, seed,
                STREAM + i, f"{p.section}.crop_frames",
            )
            for i, domain in enumerate(network.config.domains)
        ]  # fmt: skip
        start = margin(p) * c.hop_length
        self.played = slice(start, start + p.played_frames * c.hop_length)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        crops = [crop.batch(step) for crop in self.crops]
        samples = [self.samples(crop["audio"]) for crop in crops]
        return torch.from_numpy(np.stack(samples, 1)), torch.stack([self.spectra(crop) for crop in crops], 1)

    def samples(self, audio: Tensor) -> np.ndarray:
        return self.network.samples(audio[:, self.played].numpy(), self.hearing.features.sample_rate)

    def spectra(self, crop: dict[str, Tensor]) -> Tensor:
        c = self.hearing.features
        if self.hearing.companded:
            return companded_spectra(crop["audio"], c.sample_rate, c.hop_length)
        return normalise(crop["cqt"], self.hearing.top_db, c.range_db)

    def histogram(self) -> Tensor:
        """Counts (256,) of the codes of crops that are not trained on yet."""
        numbers = range(self.p.steps, self.p.steps + COUNTED)
        return histogram([self.samples(crop.batch(n)["audio"]) for crop in self.crops for n in numbers])


def margin(p: Params) -> int:
    """Frames at either end of a crop that E hears and no decoder plays."""
    return (p.crop_frames - p.played_frames) // 2


class Trainer(ConfusionTrainer):
    """Both players; the critic sees what the decoders play."""

    def encoded(self, heard: Tensor) -> Tensor:
        """Codes (B, D, T, F) of the frames that are played, of spectra (B, D, F, T)."""
        return self.played(super().encoded(heard))

    def played(self, code: Tensor) -> Tensor:
        start = margin(self.p)
        return code[..., start : start + self.p.played_frames, :]

    @torch.no_grad()
    def check(self, samples: Tensor, spectra: Tensor) -> dict[str, float]:
        """Figures on validation crops."""
        samples, spectra = samples.to(self.fabric.device), spectra.to(self.fabric.device)
        places = {domain: i for i, domain in enumerate(self.domains)}
        codes = {d: self.played(self.result.encoder(spectra[:, i])) for d, i in places.items()}
        bits = self.result.bits_of({d: samples[:, i] for d, i in places.items()}, codes)
        return {f"validation/{name}": value for name, value in bits.items()} | self.hidden(spectra)


def sizes(data: Data, p: Params, hearing: Hearing) -> TranslatorConfig:
    """Sizes of the networks. Raises RetimbreError for rates that do not divide."""
    rate, hop = hearing.features.sample_rate, hearing.features.hop_length
    if rate % p.sample_rate or hop * p.sample_rate % (rate * SEGMENTS_PER_FRAME):
        raise RetimbreError(
            f"{p.section}.sample_rate is {p.sample_rate} Hz: it must divide audio.sample_rate ({rate} Hz), "
            f"and features.hop_length ({hop}) must be a multiple of {SEGMENTS_PER_FRAME} samples at it."
        )
    shape = {name: getattr(p, name) for name in ("change_limit", "upsampling", "residual_output")}
    generator = GeneratorConfig(hearing.bins, p.generator, p.generator_channels, p.generator_blocks, **shape)
    names = "layers layers_per_stack kernel residual_channels skip_channels".split()
    return TranslatorConfig(
        data.features.domains, p.sample_rate, hop * p.sample_rate // rate, hearing.bins, one_decoder=False,
        generator=generator, **{name: getattr(p, name) for name in names},
    )  # fmt: skip


def fit(data: Data, p: Params, run: Run) -> tuple[System, History]:
    """Train E, the critic and a WaveNet for every domain."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    config = base_config(data.audio, data.features, "cqt")
    hearing = Hearing(p.hears, data.features.config, config["top_db"])
    torch.manual_seed(run.seed)
    network = Translator(sizes(data, p, hearing))
    domains = network.config.domains
    crops = Crops(data, "train", p, network, hearing, run.seed, p.batch_size)
    counts = crops.histogram()
    for domain in domains:
        network.decoder(domain).start_head(counts)
    critic = Critic(p.critic, hearing.bins, p.critic_channels, len(domains))
    trainer = Trainer(network, domains, p, run.fabric, critic, p.critic_learning_rate)
    held_out = None
    if all(data.features.excerpts(domain=d, split="validation") for d in domains):
        held_out = Crops(data, "validation", p, network, hearing, run.seed, VALIDATED).batch(0)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        samples, spectra = crops.batch(step)
        return samples, spectra, spectra, heard(samples, p, run.seed, step)

    def validate(_: int) -> dict[str, float]:
        return trainer.check(*held_out) if held_out else {}

    history = fit_network(p.section, p.steps, trainer, draw, run, validate=validate)
    known = {"sample_rate": config["features"]["sample_rate"], "hears": p.hears}
    return System(p.section, trainer.result.cpu(), config | known), history
