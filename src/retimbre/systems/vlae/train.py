"""Training of the variational lossy autoencoder: the evidence lower bound, in nats per sample.

A decoder hardly listens to its codes while it can read the pitch from its own past, so in a share of the
crops the past that it is told has Gaussian noise on it; what it has to predict is clean.
"""

import math

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.companding import encode_audio
from retimbre.audio.features import normalise
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.errors import RetimbreError
from retimbre.nn.spectral.gaussian import drawn, kl_nats, paid_nats
from retimbre.nn.wavenet.network import likelihoods, shift_right
from retimbre.nn.wavenet.options import CODES, SEGMENTS_PER_FRAME, WaveNetConfig
from retimbre.nn.wavenet_autoencoder.autoencoder import histogram, resampled
from retimbre.systems.vlae.network import Vlae, VlaeConfig
from retimbre.systems.vlae.params import Params
from retimbre.systems.vlae.system import System
from retimbre.training import fit as loop
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

GRADIENT_NORM = 1.0  # the loss is in nats per sample
CROPS, NOISE = 70, 71  # streams of random numbers
COUNTED = 16  # batches, which are not trained on, whose codes are counted


class Crops:
    """Batches: codes as told (B, N), as they are (B, N), spectra (B, F, T) in -1..1, instruments (B,)."""

    def __init__(self, data: Data, p: Params, seed: int, top_db: float):
        features, rate = data.features, data.features.config.sample_rate
        if rate % p.sample_rate:
            raise RetimbreError(
                f"{p.section}.sample_rate is {p.sample_rate} Hz, no divisor of audio.sample_rate "
                f"({rate} Hz): give one."
            )
        size = (p.crop_frames, p.batch_size, seed, CROPS, f"{p.section}.crop_frames")
        known = [p.representation], features.domains, "train"
        self.crops = AudioFeatureCrops(data.audio, features, *known, *size)
        self.p, self.seed, self.rate, self.top_db = p, seed, rate, top_db
        self.range_db = features.config.range_db

    def codes(self, audio: np.ndarray) -> np.ndarray:
        """Audio (B, N) to codes (B, N') at the decoder's rate."""
        x = resampled(audio, self.rate, self.p.sample_rate)
        return encode_audio(x, self.p.preemphasis, self.p.gain)

    def told(self, codes: np.ndarray, step: int) -> np.ndarray:
        """Codes with noise of 1 to ``noise_codes`` codes (log-uniform) in ``noise_share`` of the rows."""
        rng = np.random.default_rng([self.seed, NOISE, step])
        noisy = rng.random(len(codes)) < self.p.noise_share
        deviation = noisy * np.exp(rng.uniform(0, math.log(self.p.noise_codes), len(codes)))
        noise = np.round(rng.standard_normal(codes.shape) * deviation[:, None])
        return np.clip(codes + noise, 0, CODES - 1).astype(np.int64)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        crops = self.crops.batch(step)
        codes = self.codes(crops["audio"].numpy())
        spectra = normalise(crops[self.p.representation], self.top_db, self.range_db)
        told = torch.from_numpy(self.told(codes, step))
        return told, torch.from_numpy(codes.astype(np.int64)), spectra, crops["domain"]

    def histogram(self) -> Tensor:
        """Counts (256,) of codes."""
        return histogram(
            [self.codes(self.crops.batch(self.p.steps + n)["audio"].numpy()) for n in range(COUNTED)]
        )


class VlaeTrainer(CosineTrainer):
    """Cross entropy of samples, and ``beta`` times the bits of the codes that are not free."""

    def __init__(self, network: Vlae, p: Params, run: loop.Run):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, run.fabric)
        self.p = p

    def step(self, *batch_and_number: Tensor | int) -> dict[str, Tensor]:
        *batch, step = batch_and_number
        told, codes, spectra, instrument = self.own(*batch)
        decoder = self.network.decoder
        with part("forward"), self.fabric.autocast():
            code = self.network.encoder(spectra)
            outputs = decoder(shift_right(told), drawn(*code), instrument)
            nll = likelihoods(decoder, outputs, codes)[0]
            kl = paid_nats(kl_nats(*code).float(), self.p.free_bits) / decoder.config.hop_length
        self.descend(nll + self.p.beta * kl, step)
        return {"loss/nll": nll.detach(), "loss/kl": kl.detach()}


@torch.no_grad()
def figures(network: Vlae, codes: Tensor, spectra: Tensor, instrument: Tensor) -> dict[str, float]:
    """Bits of a code and of a sample given its clean past, and those that another crop's codes cost, per
    sample; batches of 2 and more.
    """
    decoder, past = network.decoder, shift_right(codes)
    mean, log_variance = network.encoder(spectra)
    own, shuffled = (
        likelihoods(decoder, decoder(past, z, instrument), codes)[0] for z in (mean, mean.roll(1, 0))
    )
    found = {
        "code/kl_bits": kl_nats(mean, log_variance).sum(1).mean(),
        "code/bits_per_sample": own,
        "code/shuffled_cost_bits": shuffled - own,
    }
    return {name: float(value) / math.log(2) for name, value in found.items()}


def fit(data: Data, p: Params, run: loop.Run) -> tuple[System, loop.History]:
    """Train for all domains of the data. Raises RetimbreError for a decoder that sees too far or rates that
    do not divide.
    """
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    features, config = data.features, base_config(data.audio, data.features, p.representation)
    crops = Crops(data, p, run.seed, config["top_db"])
    hop = features.config.hop_length * p.code_frames
    if hop * p.sample_rate % (crops.rate * SEGMENTS_PER_FRAME):
        raise RetimbreError(
            f"a code would stand for {hop * p.sample_rate / crops.rate:g} samples, and a multiple of "
            f"{SEGMENTS_PER_FRAME} is needed: change {p.section}.code_frames or sample_rate."
        )
    torch.manual_seed(run.seed)
    names = "kernel residual_channels skip_channels conditioning_channels".split()
    wavenet = WaveNetConfig(
        p.code, hop * p.sample_rate // crops.rate, len(features.domains), p.layers, p.layers,
        **{name: getattr(p, name) for name in names},
    )  # fmt: skip
    bins = features.config.bins(p.representation)
    shape = VlaeConfig(bins, p.encoder_channels, p.encoder_blocks, p.code_frames, wavenet)
    trainer = VlaeTrainer(Vlae(shape, crops.histogram()), p, run)
    watched = [x.to(run.fabric.device) for x in crops.batch(p.steps)[1:]]  # of a number that no step draws

    def validate(done: int) -> dict[str, float]:
        return figures(trainer.network, *watched)

    history = loop.fit(p.section, p.steps, trainer, crops.batch, run, validate=validate)
    known = {"rate": p.sample_rate, "preemphasis": p.preemphasis, "gain": p.gain}
    return System(p.section, trainer.network.cpu().requires_grad_(False), config | known), history
