"""Training of the WaveNet with an excitation: the segments that it learns from, and its step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data, base_config
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.nn.wavenet.network import mean_and_std
from retimbre.progress import Progress
from retimbre.training.fit import History, Run
from retimbre.training.fit import fit as fit_network
from retimbre.training.processes import check_batch
from retimbre.training.timing import part
from retimbre.training.trainer import CosineTrainer
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, code_bits, mean, previous, residual_bits
from retimbre.vocoders.excited.params import Params
from retimbre.vocoders.excited.vocoder import ExcitedVocoder, align

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

FFT_SIZES = (512, 1024, 2048)
FLOOR = 2e-6  # of full scale times n_fft: log spectra ignore what lies below, about -100 dB
GRADIENT_NORM = 1.0  # the loss is in nats
ALONE_WEIGHT = 0.25  # of the likelihood of crops that are heard without their own past


class Examples(NamedTuple):
    """Segments: pre-emphasised target and excitation (n, N), levels (n, F, N / hop + 1), domains (n,)."""

    samples: np.ndarray
    excitation: np.ndarray
    level_db: np.ndarray
    domain: np.ndarray


class ExcitedTrainer(CosineTrainer):
    """Half of a batch learns to sample, the other half to be right without sampling.

    One half hears its true past: the likelihood of a WaveNet. The other hears the excitation alone, as at
    temperature 0, where the expected sample is the output. There log spectra are compared
    (``p.lambda_spectral``, bits per dB), because a mean square alone would only make uncertain bands
    quieter.
    """

    def __init__(self, network: ExcitedWaveNet, p: Params, fabric: "Fabric"):
        super().__init__(network, p.steps, p.learning_rate, GRADIENT_NORM, fabric)
        self.lambda_spectral = p.lambda_spectral

    def step(
        self, samples: Tensor, excitation: Tensor, level_db: Tensor, domain: Tensor, step: int
    ) -> dict[str, Tensor]:
        """One step on a batch; returns its figures.

        ``samples`` (B, N) and ``excitation`` (B, N + 2 MARGIN) pre-emphasised, ``level_db`` (B, F, T)
        clipped, ``domain`` (B,).
        """
        samples, excitation, level_db, domain = self.own(samples, excitation, level_db, domain)
        # Turns are taken, so that a batch of one learns both.
        taught = torch.arange(len(samples), device=samples.device) % 2 == step % 2
        near = excitation[:, MARGIN:-MARGIN]
        residuals = samples - near
        figures = {}
        with part("forward"), self.fabric.autocast():
            parameters = self.network(previous(residuals) * taught[:, None], excitation, level_db, domain)
            bits = residual_bits(parameters, residuals).mean(1)
            loss = torch.where(taught, bits, ALONE_WEIGHT * bits).sum() / max(1, (len(samples) + 1) // 2)
            if not taught.all():
                alone = ~taught
                made = near[alone] + mean(parameters[alone])
                figures["excited/spectral_db"] = log_spectral_distance(made, samples[alone])
                loss = loss + self.lambda_spectral * figures["excited/spectral_db"]
        self.descend(loss, step)
        with torch.no_grad():
            if not taught.all():
                distance = log_spectral_distance(near[alone], samples[alone])
                figures["excited/spectral_db_of_excitation"] = distance
            if taught.any():
                bits = code_bits(parameters[taught], samples[taught], near[taught])
                figures["excited/nll_bits"] = bits.mean()
        return {name: value.detach() for name, value in figures.items()}


def log_spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of log magnitude spectra of signals (B, N) in dB, over FFT sizes that fit."""
    sizes = [n for n in FFT_SIZES if n <= a.shape[-1]] or [a.shape[-1]]

    def level_db(x: Tensor, n: int) -> Tensor:
        window = torch.hann_window(n, device=x.device)
        S = torch.stft(x.float(), n, n // 4, window=window, center=False, return_complex=True)
        return 20 * torch.log10(S.abs().clamp(min=FLOOR * n))

    return torch.stack([(level_db(a, n) - level_db(b, n)).abs().mean() for n in sizes]).mean()


def segment_frames(features: PackedFeatures, p: Params) -> int:
    """``p.segment_frames``, or fewer: at least half of every domain's material holds a segment."""
    fit = []
    for domain in features.domains:
        lengths = np.sort([excerpt.length for excerpt in features.excerpts(domain=domain, split="train")])
        fit.append(int(lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)]) - 1)
    return max(p.least_segment_frames(features.config.hop_length), min(p.segment_frames, *fit))


def prepare(
    vocoder: ExcitedVocoder, audio: PackedAudio, features: PackedFeatures, p: Params, seed: int
) -> Examples:
    """Excitations and aligned targets of ``p.minutes`` of the training split, equal shares of the domains."""
    config, frames = features.config, segment_frames(features, p)
    of, size = [vocoder.representation], (frames, 1, seed, 60, "vocoder.excited.crop_frames")
    crops = AudioFeatureCrops(audio, features, of, features.domains, "train", *size)
    count = max(1, round(p.minutes * 60 * config.sample_rate / (frames * config.hop_length)))
    rows = []
    with Progress(count, "excitations", "segments") as progress:
        for i in range(count):
            batch = crops.batch(i)
            x, levels = batch["audio"][0].numpy(), batch[vocoder.representation][0].numpy()
            excitation = vocoder.excitation(levels, len(x))
            both = [vocoder.emphasised(y) for y in (align(x, excitation, config, p.iterations), excitation)]
            rows.append((*both, vocoder.clipped(levels)[0].numpy(), batch["domain"][0].numpy()))
            progress.update()
    return Examples(*(np.stack(column) for column in zip(*rows, strict=True)))


def crops_of(
    examples: Examples, frames: int, hop: int, batch_size: int, seed: int, step: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Batch number ``step``, as ``ExcitedTrainer.step`` takes it; it depends on the step alone."""
    rng = np.random.default_rng([seed, 61, step])
    edge = -(-MARGIN // hop)  # frames of excitation before and after a crop
    rows = rng.integers(len(examples.domain), size=batch_size)
    starts = rng.integers(edge, examples.level_db.shape[-1] - frames - edge, size=batch_size)
    N, places = frames * hop, list(zip(rows, starts, strict=True))
    samples = [examples.samples[row, s * hop : s * hop + N] for row, s in places]
    around = [examples.excitation[row, s * hop - MARGIN : s * hop + N + MARGIN] for row, s in places]
    levels = [examples.level_db[row, :, s : s + frames + 1] for row, s in places]
    batch = (*map(np.stack, (samples, around, levels)), examples.domain[rows])
    return tuple(torch.from_numpy(x) for x in batch)


def fit(
    data: Data, p: Params, representation: str, run: Run, below: Mapping[str, Renderer]
) -> tuple[ExcitedVocoder, History]:
    """Train on segments of every domain's training split. A restart prepares the same ones again."""
    # Halves of a batch learn different things.
    check_batch(p.batch_size, run.fabric, "vocoder.excited.batch_size", 2)
    features, hop = data.features, data.features.config.hop_length
    torch.manual_seed(run.seed)
    sizes = (features.config.bins(representation), hop, len(features.domains))
    shape = p.network(*sizes, input="scalar", output="mol")
    network = ExcitedWaveNet(shape, *mean_and_std(features, representation))
    heard = {name: getattr(p, name) for name in ("iterations", "preemphasis", "gain")}
    options = {"excited": shape.to_dict(), **heard}
    vocoder = ExcitedVocoder(network, base_config(data.audio, features, representation) | options, below)
    examples = prepare(vocoder, data.audio, features, p, run.seed)
    trainer = ExcitedTrainer(network, p, run.fabric)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return crops_of(examples, p.crop_frames, hop, p.batch_size, run.seed, step)

    history = fit_network("excited", p.steps, trainer, draw, run)
    network.cpu().eval()
    return vocoder, history
