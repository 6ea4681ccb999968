"""Spectral-envelope hybridisation: the source's fine structure under the target's envelope.

The envelope is the low-quefrency part of the real cepstrum of log |STFT|. Every source frame is divided by
its own envelope and multiplied by one of the target, and keeps its phase and its energy: pitch and dynamics
are the source's. As in C. E. Cella's lectures and cross-synthesis since the vocoder, where the target's
envelopes come frame by frame from one (looped) clip and so carry that clip's music; ``mean`` and ``knn`` are
ours.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.features import FeatureConfig, FeatureExtractor
from retimbre.audio.spectral import istft, stft
from retimbre.systems.baselines.base import Corpus, TrainingFree, looped

WINDOW_S = 0.064  # about; the FFT has a multiple of 256 samples, four hops
FLOOR = 1e-5  # of the loudest bin: 100 dB below, so that silence between notes does not shape envelopes
LOUD_DB = 40.0  # corpus frames further than this below the loudest are no examples of the instrument
ROWS = 1024  # source frames compared at a time
GATE_DB = 80.0  # what lies further below the frame's peak than this is not lifted by an envelope


def log_envelope(magnitude: Tensor, lifter: int, floor: float) -> Tensor:
    """Log envelopes (F, T) of magnitudes (F, T): their cepstrum below ``lifter`` quefrency samples.

    The last quarter of the lifter fades out (half a cosine), so that envelopes do not ring.
    """
    cepstrum = torch.fft.irfft(magnitude.clamp(min=floor).log(), dim=0)  # (n_fft, T), symmetric
    quefrency = torch.arange(cepstrum.shape[0], dtype=torch.float32)
    quefrency = torch.minimum(quefrency, cepstrum.shape[0] - quefrency)
    ramp = ((quefrency - 0.75 * lifter) / max(0.25 * lifter, 1e-9)).clamp(0, 1)
    return torch.fft.rfft(cepstrum * (0.5 + 0.5 * torch.cos(torch.pi * ramp))[:, None], dim=0).real


class Cepstral(TrainingFree):
    """``transfer`` gives a source the spectral envelope of a domain."""

    name, slow = "cepstral", False

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        super().__init__(corpora, config, settings)
        self.extractor = FeatureExtractor(config)
        self.hop = config.hop_length
        self.n_fft = max(4 * self.hop, round(WINDOW_S * self.sample_rate / 256) * 256)
        self.lifter = max(2, round(settings.lifter_ms * 1e-3 * self.sample_rate))
        with torch.no_grad():
            self.examples = {domain: self._examples(corpus) for domain, corpus in corpora.items()}

    def _spectrum(self, x: np.ndarray) -> Tensor:
        """Complex STFT (F, T) of audio (N,)."""
        return stft(torch.from_numpy(x)[None], self.n_fft, self.hop)[0]

    def _envelope(self, magnitude: Tensor) -> Tensor:
        return log_envelope(magnitude, self.lifter, FLOOR * float(magnitude.max()) + 1e-12)

    def _pitch(self, x: np.ndarray) -> Tensor:
        """Notes that sound: constant-Q magnitudes to the power 1/2, as unit vectors (T, F)."""
        cqt = self.extractor(torch.from_numpy(x)[None], "cqt")[0]
        return torch.nn.functional.normalize(cqt.sqrt(), dim=0).T.contiguous()

    def _examples(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Notes (K, F) and log envelopes (K, F') of mean 0 of all loud frames of a corpus."""
        pitches, envelopes = [], []
        for x in corpus:
            magnitude = self._spectrum(x).abs()
            level = magnitude.square().sum(0)
            loud = level > level.max() * 10 ** (-LOUD_DB / 10)
            envelope = self._envelope(magnitude)
            pitches.append(self._pitch(x)[loud])
            envelopes.append((envelope - envelope.mean(0))[:, loud].T)
        # Half precision: these go to every process.
        return torch.cat(pitches).half(), torch.cat(envelopes).half()

    def _target_envelope(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> Tensor:
        """Log envelopes (F, T) or (F, 1) of the target for a source (N,)."""
        pitches, envelopes = self.examples[domain]
        if self.settings.envelope == "mean":
            return envelopes.float().mean(0)[:, None]
        if self.settings.envelope == "clip":
            return self._envelope(self._spectrum(looped(self.corpora[domain], len(x), rng)).abs())
        pitches, k = pitches.float(), min(self.settings.neighbours, len(pitches))
        # A block of frames at a time: (ROWS, K) cosines.
        blocks = self._pitch(x).split(ROWS)
        nearest = torch.cat([(rows @ pitches.T).topk(k, dim=1).indices for rows in blocks])
        return torch.cat([envelopes[rows].float().mean(1) for rows in nearest.split(ROWS)]).T

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        return self.hybrid(x, self._target_envelope(x, domain, rng))

    def hybrid(self, x: np.ndarray, envelope: Tensor) -> np.ndarray:
        """Audio (N,) with its own envelopes replaced by log envelopes (F, T) or (F, 1); energies stay."""
        spectrum = self._spectrum(x)
        magnitude = spectrum.abs()
        heard = magnitude > magnitude.max(0, keepdim=True).values * 10 ** (-GATE_DB / 20)
        change = torch.where(heard, envelope - self._envelope(magnitude), 0.0)
        change = change - change.max(0, keepdim=True).values  # the exponential cannot overflow
        shaped = spectrum * change.exp()
        energy, now = magnitude.square().sum(0), shaped.abs().square().sum(0)
        shaped = shaped * (energy / now.clamp(min=1e-20)).sqrt()
        return istft(shaped[None], self.n_fft, self.hop, len(x))[0].numpy()
