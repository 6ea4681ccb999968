"""Levels and instrument to samples by a WaveNet that hears the inverter's waveform: ``wavenet_excited``.

The excitation is what the spectral inverter and a few Griffin-Lim iterations make of the same levels. Its phases are invented: against a
recording they correlate with 0, and a network that is asked for the recording ignores them. So the target is brought into
phase: the recording's STFT magnitudes, started on the excitation's phases, a few Griffin-Lim iterations. It sounds like the
recording, and correlates with the excitation by 0.87.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.audio.companding import deemphasis, preemphasis
from retimbre.audio.features import FeatureConfig
from retimbre.audio.spectral import griffin_lim, stft
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.nn.wavenet.network import WaveNetConfig
from retimbre.params import Vocoder as VocoderParams
from retimbre.params.together import least_segment_frames
from retimbre.progress import Progress
from retimbre.training.devices import compiled, make_fabric
from retimbre.training.fit import Loop
from retimbre.training.processes import check_batch
from retimbre.vocoders.base import Part, Request, Training
from retimbre.vocoders.excited.generation import State, expected, generate, padded
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, code_bits, previous
from retimbre.vocoders.excited.train import ExcitedTrainer
from retimbre.vocoders.wavenet.train import CROP, mean_and_std, shape_of

SETTINGS = ("excited_iterations", "excited_temperature", "excited_share", "wavenet_preemphasis", "wavenet_gain")  # kept with the weights


class Examples(NamedTuple):
    """Segments to train on: pre-emphasised target and excitation (n, N), levels (n, F, T), T = N / hop + 1, domains (n,)."""

    samples: np.ndarray
    excitation: np.ndarray
    level_db: np.ndarray
    domain: np.ndarray


def align(audio: np.ndarray, excitation: np.ndarray, config: FeatureConfig, iterations: int) -> np.ndarray:
    """The recording (N,) in phase with the excitation (N,)."""
    x, e = (torch.from_numpy(np.ascontiguousarray(y, np.float32))[None] for y in (audio, excitation))
    n_fft, hop = config.stft_n_fft, config.hop_length
    phase = torch.angle(stft(e, n_fft, hop))
    return griffin_lim(stft(x, n_fft, hop).abs(), n_fft, hop, len(audio), iterations, initial_phase=phase)[0].numpy()


class ExcitedVocoder(Part):
    """Audio from the inverter's waveform and the WaveNet's residuals."""

    name, hears = "excited", True

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return ExcitedWaveNet(WaveNetConfig(**config["excited"]))

    @classmethod
    def fit(cls, training: Training, parts: Mapping[str, Part]) -> tuple[nn.Module, dict[str, Any], list[dict[str, float]]]:
        settings = {name: getattr(training.params, name) for name in SETTINGS}
        network = new_network(training.features, training.params, training.seed)
        part = cls(network, training.settings | settings | {"excited": network.config.to_dict()}, parts)
        curves = fit_excited(part, training)
        return network.cpu(), {"excited": network.config.to_dict(), **settings}, curves

    def emphasised(self, audio: np.ndarray) -> np.ndarray:
        """Audio (..., N) as the network hears it."""
        return (self.config["wavenet_gain"] * preemphasis(audio, self.config["wavenet_preemphasis"])).astype(np.float32)

    def excitation(self, level_db: np.ndarray, length: int, before: np.ndarray | None = None) -> np.ndarray:
        """The inverter's waveform (N,) of levels (F, T); ``before`` (M,): samples made already, whose phases are continued."""
        return self.parts["inverter"].griffin_lim(level_db, length, self.config["excited_iterations"], before)

    @torch.no_grad()
    def nll_bits(
        self, audio: np.ndarray, level_db: np.ndarray, domain: str, own_db: np.ndarray, heard_db: np.ndarray | None = None
    ) -> float:
        """Of the recording brought into phase with the excitation of its own levels, given that of ``heard_db``."""
        target = align(audio, self.excitation(own_db, len(audio)), self.features, self.config["excited_iterations"])
        heard = self.excitation(level_db if heard_db is None else heard_db, len(audio))
        samples, wide = torch.from_numpy(self.emphasised(target))[None], padded(self.emphasised(heard))
        near = wide[:, MARGIN:-MARGIN]
        parameters = self.network(previous(samples - near), wide, self.clipped(level_db), torch.tensor([self.domains.index(domain)]))
        return float(code_bits(parameters, samples, near).mean())

    def synthesise(self, wanted: Request) -> np.ndarray:
        """The excitation and ``excited_share`` of the residual: at ``excited_temperature`` 0 the expected one, else one that is drawn."""
        temperature, share, before = self.config["excited_temperature"], self.config["excited_share"], wanted.before
        audio = self.excitation(wanted.level_db, wanted.length, before)
        excitation, levels, index = self.emphasised(audio), self.clipped(wanted.level_db)[0], self.domains.index(wanted.domain)
        if temperature == 0:
            residuals = expected(self.network, levels, index, excitation)
        else:
            state, made = State(self.network, wanted.seed), np.zeros(0, np.float32)
            if before is not None and len(before):  # brings the state to where `before` ends
                made = (self.emphasised(before[: wanted.length].astype(np.float32)) - excitation[: len(before)]) / share
                generate(self.network, levels, index, excitation, length=len(made), state=state, forced=temperature * made)
            left = len(made) < wanted.length
            drawn = generate(self.network, levels, index, excitation, temperature, state=state)[0] if left else made[:0]
            residuals = np.concatenate([made, drawn])
        return (audio + deemphasis(share * residuals / self.config["wavenet_gain"], self.config["wavenet_preemphasis"])).astype(np.float32)


def new_network(features: PackedFeatures, p: VocoderParams, seed: int) -> ExcitedWaveNet:
    """The WaveNet of the params with an excitation and a mixture of logistics."""
    torch.manual_seed(seed)
    shape = shape_of(features, p, input="scalar", output="mol", mixtures=p.excited_mixtures)
    return ExcitedWaveNet(shape, *mean_and_std(features, p.representation))


def segment_frames(features: PackedFeatures, p: VocoderParams) -> int:
    """``excited_segment_frames``, or fewer: recordings that hold a segment make up half of every domain's material at least."""
    fit = []
    for domain in features.domains:
        lengths = np.sort([excerpt.length for excerpt in features.excerpts(domain=domain, split="train")])
        fit.append(int(lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)]) - 1)
    return max(least_segment_frames(p, features.config.hop_length), min(p.excited_segment_frames, *fit))


def prepare(part: ExcitedVocoder, audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int) -> Examples:
    """Excitations and aligned targets of ``p.excited_minutes`` of the training split, drawn at random; domains take equal shares."""
    config, frames = features.config, segment_frames(features, p)
    crops = AudioFeatureCrops(audio, features, [p.representation], features.domains, "train", frames, 1, seed, 60, CROP)
    count = max(1, round(p.excited_minutes * 60 * config.sample_rate / (frames * config.hop_length)))
    rows = []
    with Progress(count, "excitations", "segments") as progress:
        for i in range(count):
            batch = crops.batch(i)
            x, levels = batch["audio"][0].numpy(), batch[p.representation][0].numpy()
            excitation = part.excitation(levels, len(x))
            target = align(x, excitation, config, p.excited_iterations)
            rows.append((part.emphasised(target), part.emphasised(excitation), part.clipped(levels)[0].numpy(), batch["domain"][0].numpy()))
            progress.update()
    return Examples(*(np.stack(column) for column in zip(*rows, strict=True)))


def crops_of(examples: Examples, frames: int, hop: int, batch_size: int, seed: int, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Batch number ``step``, as ``ExcitedTrainer.step`` takes it; it depends on the step alone."""
    rng = np.random.default_rng([seed, 61, step])
    edge = -(-MARGIN // hop)  # frames of excitation before and after a crop
    rows = rng.integers(len(examples.domain), size=batch_size)
    starts = rng.integers(edge, examples.level_db.shape[-1] - frames - edge, size=batch_size)
    N = frames * hop
    samples = np.stack([examples.samples[row, s * hop : s * hop + N] for row, s in zip(rows, starts, strict=True)])
    around = [examples.excitation[row, s * hop - MARGIN : s * hop + N + MARGIN] for row, s in zip(rows, starts, strict=True)]
    levels = np.stack([examples.level_db[row, :, s : s + frames + 1] for row, s in zip(rows, starts, strict=True)])
    return tuple(torch.from_numpy(x) for x in (samples, np.stack(around), levels, examples.domain[rows]))


def fit_excited(part: ExcitedVocoder, training: Training) -> list[dict[str, float]]:
    """Train ``part.network`` in place; returns the curves. What is prepared depends on the seed alone: a restart makes it again."""
    p, hop = training.params, training.features.config.hop_length
    fabric = make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    check_batch(p.wavenet_batch_size, fabric, "vocoder.wavenet_batch_size", 2)  # halves of a batch learn different things
    examples = prepare(part, training.audio, training.features, p, training.seed)
    trainer = ExcitedTrainer(part.network, p.excited_steps, p.wavenet_learning_rate, p.excited_lambda_spectral, fabric)
    loop = Loop(
        "excited",
        p.excited_steps,
        training.scratch,
        training.run,
        trainer.state_dict,
        trainer.load_state_dict,
        None,
        p.log_every,
        p.checkpoint_every,
        fabric=fabric,
    )
    batch = loop.ahead(lambda step: crops_of(examples, p.wavenet_crop_frames, hop, p.wavenet_batch_size, training.seed, step))
    with compiled(p.compile, part.network):
        for step in loop:
            loop.add(trainer.step(*batch(step), step))
    part.network.eval()
    return loop.curves()
