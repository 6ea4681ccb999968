"""Crops, trainer and validation that trainings of WaveNet autoencoders share."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from retimbre.datasets.packed.crops import AudioCrops
from retimbre.datasets.packed.format import PackedAudio
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet_autoencoder.autoencoder import Autoencoder, CodedWaveNets, histogram
from retimbre.nn.wavenet_autoencoder.decoder import noisy
from retimbre.nn.wavenet_autoencoder.params import DecoderSizes, Sizes
from retimbre.training.averages import Ema
from retimbre.training.processes import average_gradients
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

GRADIENT_NORM = 1.0  # the loss is in nats
STREAM = 60  # of random numbers: of the first domain's crops
NOISE_STREAM, TUNING_STREAM = 50, 51
COUNTED = 16  # batches whose codes are counted
VALIDATED = 8  # crops of each domain


class SampleCrops:
    """Crops of every domain as mu-law codes at the networks' rate: ``batch(step)`` is (B, D, N) int64.

    Raises RetimbreError where the rates do not divide, or nothing is long enough.
    """

    def __init__(
        self, audio: PackedAudio, domains: Sequence[str], split: str, p: Sizes, network: Autoencoder,
        seed: int, batch_size: int = 0,
    ):  # fmt: skip
        rate, own = audio.config["sample_rate"], p.sample_rate
        if rate % own:
            raise RetimbreError(
                f"{p.section}.sample_rate is {own} Hz, by which audio.sample_rate ({rate} Hz) cannot be "
                "divided: give a divisor."
            )
        size = p.crop_codes * p.pool * (rate // own), batch_size or p.batch_size, seed
        key = f"{p.section}.crop_codes"
        self.crops = [AudioCrops(audio, d, split, *size, STREAM + i, key) for i, d in enumerate(domains)]
        self.network, self.rate = network, rate

    def batch(self, step: int) -> Tensor:
        of_domains = [self.network.samples(crops.batch(step), self.rate) for crops in self.crops]
        return torch.from_numpy(np.stack(of_domains, 1))

    def histogram(self, p: Sizes) -> Tensor:
        """Counts (256,) of the codes of crops that are not trained on yet."""
        return histogram([self.batch(p.steps + i).numpy() for i in range(COUNTED)])


def heard(samples: Tensor, p: DecoderSizes, seed: int, step: int) -> Tensor:
    """Codes (B, D, N) as the decoders hear their past in this step: noisy, where ``p`` says so."""
    noise = noisy(samples.flatten(0, 1), p.noise_share, p.noise_codes, generator(seed, NOISE_STREAM, step))
    return noise.view_as(samples)


def generator(seed: int, stream: int, step: int) -> torch.Generator:
    """A torch generator for one step, as crops have numpy's: a function of the step alone."""
    return torch.Generator().manual_seed(int(np.random.default_rng([seed, stream, step]).integers(1 << 62)))


class ConfusionTrainer(CosineTrainer):
    """The networks, their schedule and, with ``p.ema_decay``, the average that is kept (``result``).

    With a ``classifier`` there are two players: it finds the domain in codes, then encoder and decoders step
    against it (Mor et al. 2019; the classifier's own step is what made it converge for Yoon 2019), with a
    weight of ``p.lambda_confusion``. ``learning_rate``: the classifier's.
    """

    def __init__(
        self,
        network: CodedWaveNets,
        domains: Sequence[str],
        p: DecoderSizes,
        fabric: "Fabric",
        classifier: nn.Module | None = None,
        learning_rate: float = 0.0,
    ):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, fabric)
        self.domains, self.p, self.classifier = domains, p, None
        self.ema = Ema(self.network, p.ema_decay) if p.ema_decay else None
        if classifier is None:
            return
        self.classifier = classifier.to(fabric.device)
        self.networks.append(self.classifier)
        self.classifier_optimiser = torch.optim.Adam(classifier.parameters(), learning_rate)

    @property
    def result(self) -> CodedWaveNets:
        return self.ema.module if self.ema else self.network

    def reconstruction(self, samples: Tensor, code: Tensor, told: Tensor, domains: Sequence[str]) -> Tensor:
        """Nats per sample, the mean over domains: samples and past as heard (B, D, N), codes (B, D, T, C)."""
        losses = [self.network.loss(samples[:, i], code[:, i], d, told[:, i]) for i, d in enumerate(domains)]
        return torch.stack(losses).mean()

    def encoded(self, heard: Tensor) -> Tensor:
        """Codes (B, D, T, C) of what the encoder hears (B, D, ...)."""
        return self.network.encoder(heard.flatten(0, 1)).unflatten(0, heard.shape[:2])

    def step(
        self, samples: Tensor, clean: Tensor, heard: Tensor, told: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Samples and the past that decoders are told (B, D, N); what the encoder hears of recordings as they
        are, for the classifier, and what it hears to be played: (B, D, ...).
        """
        samples, clean, heard, told = self.own(samples, clean, heard, told)
        found = {} if self.classifier is None else self.classify(clean)
        with part("forward"), self.fabric.autocast():
            code = self.encoded(heard)
            loss = reconstruction = self.reconstruction(samples, code, told, self.domains)
            if self.classifier is not None:
                # A classifier that guesses is fooled enough: beyond chance, codes would grow without end.
                fooled = self.confusion(code)[0].clamp(max=math.log(len(self.domains)))
                loss = loss - self.p.lambda_confusion * fooled
        self.descend(loss, step)
        if self.ema:
            self.ema.update(self.network, step)
        return found | {f"{self.p.section}/nll_bits": reconstruction.detach() / math.log(2)}

    def classify(self, heard: Tensor) -> dict[str, Tensor]:
        """The classifier's step, on codes of what the encoder hears (B, D, ...)."""
        with torch.no_grad(), self.fabric.autocast():
            code = self.encoded(heard)
        with self.fabric.autocast():
            loss, accuracy = self.confusion(code)
        self.classifier_optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        average_gradients(self.fabric, self.classifier.parameters())
        self.classifier_optimiser.step()
        section = self.p.section
        return {f"{section}/classifier_nll": loss.detach(), f"{section}/classifier_accuracy": accuracy}

    def confusion(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Cross entropy in nats of the domains of codes (B, D, T, C), and the share that is right."""
        logits = self.classifier(code.flatten(0, 1)).float()
        true = torch.arange(code.shape[1], device=code.device).repeat(len(code))
        return nnf.cross_entropy(logits, true), (logits.argmax(1) == true).float().mean()

    @torch.no_grad()
    def hidden(self, heard: Tensor) -> dict[str, float]:
        """The classifier's cross entropy and share right on validation crops; none without a classifier."""
        if self.classifier is None:
            return {}
        loss, accuracy = self.confusion(self.encoded(heard))
        return {"validation/classifier_nll": loss.item(), "validation/classifier_accuracy": accuracy.item()}

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.ema:
            state["ema"] = self.ema.module.state_dict()
        if self.classifier is not None:
            state["classifier"] = self.classifier.state_dict()
            state["classifier_optimiser"] = self.classifier_optimiser.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
        if self.classifier is not None:
            self.classifier.load_state_dict(state["classifier"])
            self.classifier_optimiser.load_state_dict(state["classifier_optimiser"])


def validation(
    audio: PackedAudio, domains: Sequence[str], p: Sizes, network: Autoencoder, seed: int
) -> Tensor | None:
    """Crops (B, D, N) of the validation split that every check hears; None where that split is empty."""
    if not all(audio.excerpts(domain=d, split="validation") for d in domains):
        return None
    return SampleCrops(audio, domains, "validation", p, network, seed, VALIDATED).batch(0)


def figures(network: Autoencoder, samples: Tensor | None, domains: Sequence[str]) -> dict[str, float]:
    """Bits per sample of validation crops, and the gap (``Autoencoder.bits``)."""
    if samples is None:
        return {}
    own = samples.to(network.device)
    found = network.bits({d: own[:, i] for i, d in enumerate(domains)})
    return {f"validation/{name}": value for name, value in found.items()}


def described(audio: PackedAudio, domains: list[str]) -> dict[str, Any]:
    """The configuration of a ``CodedAudio`` that plays ``domains``, trained on this audio."""
    return {"sample_rate": audio.config["sample_rate"], "rms": audio.config["rms"], "domains": domains}
