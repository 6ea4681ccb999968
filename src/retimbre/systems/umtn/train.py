"""Training: the classifier C finds the domain in the codes, then encoder and decoders against it, in turn."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet_autoencoder.autoencoder import Autoencoder, companded
from retimbre.nn.wavenet_autoencoder.encoder import DomainClassifier, semitones_off
from retimbre.nn.weights import reading
from retimbre.systems.umtn.params import Params
from retimbre.systems.umtn.system import System
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.wavenet_autoencoder import (
    TUNING_STREAM,
    ConfusionTrainer,
    SampleCrops,
    described,
    figures,
    generator,
    heard,
    validation,
)


def out_of_tune(amplitudes: Tensor, semitones: float, seed: int, step: int) -> Tensor:
    """Amplitudes (B, D, N), a stretch of each a little out of tune: what the encoder hears in training.

    A quarter to half of the crop, beginning in its first half, is moved by up to ``semitones``.
    """
    B, D, N = amplitudes.shape
    a, b, c = torch.rand(3, B * D, generator=generator(seed, TUNING_STREAM, step))
    moved = semitones_off(
        amplitudes.flatten(0, 1), semitones * (2 * a - 1), (b * N / 2).floor(), (1 + c) * N / 4
    )
    return moved.view(B, D, N)


def extended(folder: Path, domains: Sequence[str], p: Params) -> tuple[Autoencoder, list[str]]:
    """A trained model with decoders for those ``domains`` that it does not know, and their names."""
    with reading(folder, f"encoder for {p.section}.frozen_from", f"system@{folder.name}"):
        trained = System.load(folder).network
    new = [domain for domain in domains if domain not in trained.config.domains]
    if not new:
        raise RetimbreError(
            f"{p.section}.frozen_from: {folder} has decoders for {', '.join(domains)} already: name another "
            "instrument in dataset.domains."
        )
    config = replace(trained.config, domains=[*trained.config.domains, *new])
    if p.network(config.domains, False, False) != config:
        raise RetimbreError(
            f"{p.section}.frozen_from: the networks of {folder} have other sizes than the section "
            f"{p.section}: make them equal."
        )
    network = Autoencoder(config)
    for name in trained.config.domains:
        network.decoders[name].load_state_dict(trained.decoders[name].state_dict())
    network.encoder.load_state_dict(trained.encoder.state_dict())
    network.requires_grad_(False)
    for name in new:
        network.decoders[name].requires_grad_(True)
    return network, new


def fit(data: Data, p: Params, run: Run) -> tuple[System, History]:
    """Train on every domain's training split, or decoders of new domains for a trained encoder."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    torch.manual_seed(run.seed)
    audio, domains = data.audio, data.audio.domains
    if p.frozen_from:
        network, domains = extended(Path(p.frozen_from), domains, p)
    else:
        network = Autoencoder(p.network(domains, one_decoder=False, relu_first=False))
    crops = SampleCrops(audio, domains, "train", p, network, run.seed)
    counts = crops.histogram(p)
    for domain in domains:
        network.decoder(domain).start_head(counts)
    sizes = (p.code_channels, p.classifier_channels, len(domains))
    classifier = None if p.frozen_from else DomainClassifier(*sizes)  # decoders alone have nothing to hide
    trainer = ConfusionTrainer(network, domains, p, run.fabric, classifier, p.classifier_learning_rate)
    held_out = validation(audio, domains, p, network, run.seed)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        samples = crops.batch(step)
        clean = companded(samples)
        moved = out_of_tune(clean, p.augment_semitones, run.seed, step)
        return samples, clean, moved, heard(samples, p, run.seed, step)

    def check(done: int) -> dict[str, float]:
        if held_out is None:
            return {}
        own = companded(held_out.to(run.fabric.device))
        return figures(trainer.result, held_out, domains) | trainer.hidden(own)

    history = fit_network(p.section, p.steps, trainer, draw, run, validate=check)
    config = described(audio, network.config.domains)
    return System(p.section, trainer.result.cpu(), config), history
