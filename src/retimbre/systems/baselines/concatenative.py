"""Concatenative mosaicing: every unit of the source is replaced by the nearest of the target's units.

Published form (C. E. Cella's lectures): frames, nearest in MFCC space, as long as the source. MFCCs describe
timbre, so on their own they keep the source's timbre as far as the target has it, and lose the notes. Ours,
each switched off by a zero in params: likeness of constant-Q spectra (the notes), and a cost for leaving a
recording between two units, minimised over the whole piece by the Viterbi algorithm as in unit selection
(Schwarz, "Concatenative sound synthesis: the early years", 2006). Units are joined where their waveforms
correlate best (Verhelst and Roelands, "An overlap-add technique based on waveform similarity (WSOLA)", 1993)
and played at the source's level.
"""

from typing import Any

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.audio.levels import rms
from retimbre.errors import RetimbreError
from retimbre.systems.baselines.base import Corpus, TrainingFree

MFCCS = 12  # coefficients 1 to 12; the level is not compared, only its course within the unit
PARTS = 4  # frames of a unit that are compared one by one: an attack is not a decay
MAX_GAIN_DB = 12.0  # of a unit; what is quieter in the target stays quieter
MAX_SHIFT_S = 0.008  # of a unit against its place, to join waveforms in phase: one period of 125 Hz
ROWS = 512  # source units compared at a time


class Concatenative(TrainingFree):
    """``transfer`` rebuilds a source from units of a domain's recordings."""

    name, slow = "concatenative", False

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        super().__init__(corpora, config, settings)
        self.extractor = FeatureExtractor(config)
        # Frames from unit to unit.
        self.half = max(1, round(settings.unit_s * config.sample_rate / config.hop_length / 2))
        self.unit, self.step = 2 * self.half * config.hop_length, self.half * config.hop_length  # samples
        with torch.no_grad():
            self.units = {domain: self._describe_corpus(domain, corpus) for domain, corpus in corpora.items()}

    def describe(self, x: np.ndarray, every: int) -> tuple[Tensor, Tensor]:
        """Timbre (K, PARTS * 13) and notes (K, PARTS * F) of units every ``every`` frames of audio (N,).

        Timbre: MFCCs and, per part, the level in the unit. Notes: constant-Q magnitudes to the power 1/2, of
        unit length per part.
        """
        audio = torch.from_numpy(x)[None]
        mel_db = decibels(self.extractor(audio, "mel"))[0].numpy()
        mel_db = np.maximum(mel_db, mel_db.max() - 80.0)  # as librosa's top_db
        cepstrum = scipy.fft.dct(mel_db, axis=0, norm="ortho")[: MFCCS + 1]
        notes = torch.nn.functional.normalize(self.extractor(audio, "cqt")[0].sqrt(), dim=0).T
        starts = np.arange(0, (len(x) - self.unit) // self.config.hop_length + 1, every)
        parts = ((np.arange(PARTS) + 0.5) * 2 * self.half / PARTS).astype(int)
        frames = starts[:, None] + parts  # (K, PARTS)
        timbre = cepstrum[:, frames]  # (13, K, PARTS)
        timbre[0] -= timbre[0].mean(1, keepdims=True)
        timbre, rows = timbre.transpose(1, 2, 0), len(starts)
        timbre = torch.from_numpy(timbre.reshape(rows, -1)).float().contiguous()
        return timbre, notes[frames].reshape(rows, -1)

    def _describe_corpus(self, domain: str, corpus: Corpus) -> dict[str, Tensor]:
        """All units of a corpus: ``timbre``, ``notes``, ``segment``, ``start`` in samples, (K, ...) each."""
        parts: dict[str, list[Tensor]] = {"timbre": [], "notes": [], "segment": [], "start": []}
        for i, x in enumerate(corpus):
            if len(x) >= self.unit and rms(x) > 0:
                timbre, notes = self.describe(x, 1)
                rows = torch.arange(len(timbre))
                values = timbre, notes, torch.full_like(rows, i), rows * self.config.hop_length
                for part, value in zip(parts.values(), values, strict=True):
                    part.append(value)
        if not parts["timbre"]:
            missing = f"has a unit of {self.unit / self.sample_rate:g} s"
            advice = "lower baselines.concatenative.unit_s"
            raise RetimbreError(f"no training recording of {domain!r} {missing}: {advice}.")
        units = {key: torch.cat(value) for key, value in parts.items()}
        # Both distances are relative to those of unrelated units: their weights mean the same for any data.
        other = torch.from_numpy(np.random.default_rng(0).permutation(len(units["start"])))
        spread = units["timbre"].std(0, correction=0).clamp(min=1e-3)
        units["scale"] = spread * np.sqrt(2 * len(spread))
        units["notes_scale"] = (units["notes"] - units["notes"][other]).square().sum(1).mean().clamp(min=1e-6)
        # Half precision: these go to every process.
        return units | {key: units[key].half() for key in ("timbre", "notes")}

    def distances(self, x: np.ndarray, domain: str) -> Tensor:
        """Distances (J, K) of units of audio (N,) to the domain's, about 1 + pitch_weight if unrelated."""
        units, weight = self.units[domain], self.settings.pitch_weight
        timbre, notes = self.describe(x, self.half)
        result = torch.cdist(timbre / units["scale"], units["timbre"].float() / units["scale"]).square()
        if weight:
            of_notes = (2 * PARTS - 2 * notes @ units["notes"].float().T).clamp(min=0)
            result += weight / units["notes_scale"] * of_notes
        return result

    def select(self, x: np.ndarray, domain: str) -> np.ndarray:
        """The chosen unit of the domain for every unit of audio (N,): (J,) indices, of least total cost."""
        units, k = self.units[domain], self.settings.neighbours
        segment = units["segment"].numpy()
        candidates, local, came_from = [], [], []
        total = None
        blocks = [
            x[i * self.step : (i + ROWS - 1) * self.step + self.unit]
            for i in range(0, len(x) // self.step - 1, ROWS)
        ]
        for distance in (row for block in blocks for row in self.distances(block, domain)):
            found = distance.topk(min(k, len(distance)), largest=False).indices.numpy()
            if candidates:  # the continuations of the last candidates compete too
                onward = candidates[-1] + self.half
                onward = onward[onward < len(segment)]
                onward = onward[segment[onward] == segment[onward - self.half]]
                found = np.union1d(found, onward)
            cost = distance.numpy()[found]
            if total is None:
                total, came = cost, np.zeros(len(found), int)
            else:
                leaves = candidates[-1][:, None] + self.half != found[None]
                leaves |= segment[candidates[-1]][:, None] != segment[found][None]
                ways = total[:, None] + self.settings.continuity * leaves
                came = ways.argmin(0)
                total = ways[came, np.arange(len(found))] + cost
            candidates.append(found)
            local.append(cost)
            came_from.append(came)
        path = [int(total.argmin())]
        for came in came_from[:0:-1]:
            path.append(int(came[path[-1]]))
        return np.array([found[i] for found, i in zip(candidates, reversed(path), strict=True)])

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        # Half a unit of silence on both sides: every sample lies in two units.
        padded = np.pad(x, (self.step, self.step + -len(x) % self.step)).astype(np.float32)
        chosen, units, corpus = self.select(padded, domain), self.units[domain], self.corpora[domain]
        window = np.hanning(self.unit + 1)[:-1].astype(np.float32)
        out = np.zeros(len(padded), np.float32)
        shift, last = 0, None
        for j, index in enumerate(chosen):
            segment, start = int(units["segment"][index]), int(units["start"][index])
            recording, place = corpus[segment], j * self.step
            if last != (segment, start - self.step):
                shift = self._shift(out[place : place + self.step], recording, start) if j else 0
            last = (segment, start)
            begin = min(max(start + shift, 0), len(recording) - self.unit)
            piece, wanted = recording[begin : begin + self.unit], rms(padded[place : place + self.unit])
            gain = min(wanted / max(rms(piece), 1e-6), 10 ** (MAX_GAIN_DB / 20))
            out[place : place + self.unit] += np.float32(gain) * window * piece
        return out[self.step : self.step + len(x)]

    def _shift(self, tail: np.ndarray, recording: np.ndarray, start: int) -> int:
        """Samples to move a unit by, so that its first half correlates best with what is played already."""
        reach = round(MAX_SHIFT_S * self.sample_rate)
        low, high = max(start - reach, 0), min(start + reach, len(recording) - self.unit)
        region = recording[low : high + self.step].astype(np.float64)
        likeness = np.correlate(region, tail, "valid")  # (high - low + 1,)
        energy = np.cumsum(np.concatenate([[0.0], region**2]))
        likeness /= np.sqrt(energy[self.step :] - energy[: -self.step] + 1e-9)
        return int(likeness.argmax()) + low - start
