"""All figures of a set of notes, beside the notes that its generator learned from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from retimbre.metrics.distribution import Modes, ndb
from retimbre.synthesis.base import Notes
from retimbre.synthesis.gabor import consistency, log_magnitude
from retimbre.synthesis.measures import scores
from retimbre.synthesis.measures.listener import Listener
from retimbre.synthesis.measures.scores import Score, mean, over

GROUPS, LARGEST_GROUP = 4, 250  # of an inception score
MOST_TRAINING = 5000  # notes that distances are taken from
DUPLICATE_SHARE = 0.05  # of the test notes, which lie nearer to the training notes than the rest
PART = 64


class Reference:
    """Notes that others are measured by: training and test notes as they are heard, and as spectra.

    ``group``: notes of a group of the inception score. Half the test notes, so that these have two groups.
    """

    def __init__(self, train: Notes, test: Notes, listener: Listener, seed: int = 0):
        self.listener, self.rate = listener, train.sample_rate
        self.group = max(2, min(len(test) // 2, LARGEST_GROUP, len(train) // GROUPS))
        rng = np.random.default_rng(seed)
        some = np.sort(rng.permutation(len(train))[:MOST_TRAINING])
        audio = np.asarray(train.audio[some])
        self.embedding = listener.hear(audio).embedding
        self.spectra = scores.log_mel(audio, self.rate)
        self.modes = Modes.fit(scores.pooled(self.spectra))
        held_out = np.sort(rng.permutation(len(test))[: self.notes])
        near = scores.nearest(scores.log_mel(np.asarray(test.audio[held_out]), self.rate), self.spectra)
        self.duplicate = float(np.quantile(near, DUPLICATE_SHARE))

    @property
    def notes(self) -> int:
        """Notes of a row: so many are made, or drawn of the training notes."""
        return GROUPS * self.group


def measure(audio: np.ndarray, asked: Sequence[int] | None, reference: Reference) -> dict[str, Score]:
    """Figures of notes (n, N), at least one group of them; ``asked``: their pitches, None where these cannot
    be chosen.
    """
    listener, group = reference.listener, reference.group
    heard = listener.hear(audio)
    spectra = scores.log_mel(audio, reference.rate)
    count = len(audio) // group * group
    pitches = np.array(listener.config.pitches)[heard.pitch.argmax(1)]
    groups = pitches if asked is None else np.asarray(asked)
    near, apart = scores.nearest(spectra, reference.spectra), scores.nearest(spectra)
    visited = scores.visited(spectra, reference.modes)
    modes = scores.numbered(reference.modes)
    found = {
        "inception_score": over(count, lambda i: scores.inception_score(heard.pitch[i], group)),
        "pitch_entropy": mean(scores.entropy(heard.pitch)),
        "fid": over(len(audio), lambda i: scores.fid(heard.embedding[i], reference.embedding)),
        "fid_without_bias": over(
            len(audio), lambda i: scores.fid_without_bias(heard.embedding[i], reference.embedding), draws=20
        ),
        "ndb": over(len(audio), lambda i: ndb(visited[i], modes)[0]),
        "js": over(len(audio), lambda i: ndb(visited[i], modes)[1]),
        "d_self": mean(apart),
        "d_train": mean(near),
        "duplicates": mean((near < reference.duplicate).astype(float)),
        "diversity": over(len(audio), diversity_of(spectra, groups), draws=20),
        "consistency": mean(consistent(audio)),
    }
    if listener.config.instruments:
        sure = over(count, lambda i: scores.inception_score(heard.instrument[i], group))
        found["instrument_score"] = sure
    if asked is not None:
        found["pitch_accuracy"] = mean((pitches == groups).astype(float))
    return found


def diversity_of(spectra: np.ndarray, groups: np.ndarray) -> Any:
    """Diversity of drawn notes; a note that is drawn twice counts once, for it is not another one."""

    def of(picked: np.ndarray) -> float:
        own = np.unique(picked)
        return scores.diversity(spectra[own], groups[own])

    return of


def consistent(audio: np.ndarray) -> np.ndarray:
    """TiFGAN's measure (n,) of the audio's own Gabor transform."""
    parts = torch.from_numpy(np.ascontiguousarray(audio, np.float32)).split(PART)
    return torch.cat([consistency(log_magnitude(part)) for part in parts]).numpy()
