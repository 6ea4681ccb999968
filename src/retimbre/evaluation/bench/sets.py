"""A system's outputs of one direction, all together, beside recordings of the target instrument."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from retimbre.classifiers.forest import training_clips
from retimbre.classifiers.panel import Classifiers
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.metrics import distribution as dist

if TYPE_CHECKING:
    from retimbre.evaluation.bench.scoring import Result

CLIPS = 64  # of a domain's training split: half to compare with, half to know how far real windows are apart
DRAWS = 200  # bootstrap resamples of the kernel distances


@dataclass(frozen=True)
class Windows:
    """Windows of clips: the style classifier's embedding ``clf`` (n, D), MFCC statistics ``mfcc`` (n, 24),
    and which of the ``recordings`` (n,) they are of.
    """

    clf: np.ndarray
    mfcc: np.ndarray
    recordings: np.ndarray

    def first(self, count: int) -> "Windows":
        """``count`` of them, spread evenly."""
        kept = np.linspace(0, len(self.clf) - 1, min(count, len(self.clf))).round().astype(int)
        return Windows(self.clf[kept], self.mfcc[kept], self.recordings[kept])


@dataclass(frozen=True)
class RealSet:
    """Recordings of one domain's training split, which no test piece is in.

    ``reference`` and ``held_out`` windows are of different recordings; ``timbres`` (clips, 12): mean MFCC;
    ``modes``: clusters of frames.
    """

    reference: Windows
    held_out: Windows
    timbres: np.ndarray
    modes: dist.Modes

    @classmethod
    def fit(cls, features: PackedFeatures, classifiers: Classifiers, domain: str, seed: int = 0) -> "RealSet":
        """Hear up to 64 training clips. Raises RetimbreError when all are shorter than a window."""
        parts: tuple[list, list] = ([], [])
        timbres, frames = [], []
        clips = list(training_clips(features, domain, CLIPS, classifiers.window_frames))
        single = len({number for number, _ in clips}) == 1  # then clips must do for recordings
        for i, (number, mel_db) in enumerate(clips):
            clf = classifiers.embed_windows(mel_db)
            mfcc = dist.mfcc_windows(mel_db, classifiers.window_frames)
            half = (i if single else number) % 2
            parts[half].append((clf, mfcc, np.full(len(clf), number)))
            if half == 0:
                timbres.append(mfcc[:, : dist.MFCC].mean(axis=0))
                frames.append(dist.thinned_frames(mel_db))
        parts = (parts[0] or parts[1], parts[1] or parts[0])  # a single clip stands for both
        halves = [Windows(*map(np.concatenate, zip(*half, strict=True))) for half in parts]
        return cls(*halves, np.stack(timbres), dist.Modes.fit(np.concatenate(frames), seed=seed))


def fit_real(
    features: PackedFeatures, classifiers: Classifiers, domains: Sequence[str], seed: int = 0
) -> dict[str, RealSet]:
    """A :class:`RealSet` per domain."""
    return {domain: RealSet.fit(features, classifiers, domain, seed) for domain in domains}


def set_records(results: "Sequence[Result]", real: Mapping[str, RealSet]) -> list[dict[str, Any]]:
    """Records of distances between sets, one per system and direction (item ``all``), and shifts per item.

    ``style_kad_*`` with their interval over clips (``_low``, ``_high``) and, at the same number of windows,
    the value of held-out recordings (``_real``); ``style_fad_*`` likewise, with ``style_fad_dim`` and
    ``style_n_windows``, left out where windows are too few; ``style_ndb``, ``style_jsd``;
    ``style_precision``, ``style_recall``, ``style_density``, ``style_coverage``.
    """
    found = []
    for direction in dict.fromkeys(r.item.direction for r in results):
        here = [r for r in results if r.item.direction == direction]
        recordings = real[here[0].item.target_domain]
        held_out = cache(partial(_held_out, recordings))
        timbre = {}
        for system in dict.fromkeys(r.system for r in here):
            scored = [r.scored for r in here if r.system == system]
            clf, mfcc, frames = ([getattr(s, name) for s in scored] for name in ("windows", "mfcc", "frames"))
            clips = np.repeat(np.arange(len(clf)), [len(c) for c in clf])
            outputs = Windows(np.concatenate(clf), np.concatenate(mfcc), clips)
            key = {"system": system, "direction": direction, "item": "all", "stratum": "any"}
            values = dict(_distances(outputs, recordings)) | held_out(len(clips))
            values["style_ndb"], values["style_jsd"] = dist.ndb(np.concatenate(frames), recordings.modes)
            found += [{**key, "metric": name, "value": float(value)} for name, value in values.items()]
            pieces = [r.item.piece for r in here if r.system == system]
            means = (dist.nearest_timbre(c[:, : dist.MFCC].mean(axis=0), recordings.timbres) for c in mfcc)
            timbre[system] = dict(zip(pieces, means, strict=True))
        strata = {r.item.piece: r.item.stratum for r in here}
        for system, piece, value in _shifts(timbre):
            key = {"system": system, "direction": direction, "item": piece, "stratum": strata[piece]}
            found.append({**key, "metric": "style_shift", "value": value})
    return found


def _fad(x: np.ndarray, reference: np.ndarray) -> float:
    """:func:`distribution.fad`, NaN where the windows are too few for it."""
    axes = min(dist.FAD_AXES, x.shape[1], len(reference) - 1)
    return dist.fad(x, reference, axes) if min(len(x), len(reference)) > axes else float("nan")


def _distances(x: Windows, real: RealSet) -> Iterator[tuple[str, float]]:
    reference = real.reference
    yield "style_n_windows", len(x.clf)
    yield "style_fad_dim", min(dist.FAD_AXES, x.clf.shape[1], len(reference.clf) - 1)
    for name in ("clf", "mfcc"):
        ours, theirs = getattr(x, name), getattr(reference, name)
        kernel = dist.kernel_distance(ours, theirs, x.recordings, reference.recordings, DRAWS)
        for end, value in (("", kernel.value), ("_low", kernel.low), ("_high", kernel.high)):
            yield f"style_kad_{name}{end}", value
        yield f"style_fad_{name}", _fad(ours, theirs)
    for name, value in dist.prdc(x.clf, reference.clf).items():
        yield f"style_{name}", value


def _held_out(real: RealSet, count: int) -> dict[str, float]:
    """Distances of as many windows of held-out recordings."""
    held = real.held_out.first(count)
    pairs = {name: (getattr(held, name), getattr(real.reference, name)) for name in ("clf", "mfcc")}
    kernel = {f"style_kad_{name}_real": dist.kad(*pair) for name, pair in pairs.items()}
    return kernel | {f"style_fad_{name}_real": _fad(*pair) for name, pair in pairs.items()}


def _shifts(timbre: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, float]]:
    """``style_shift`` (system, piece, value): (D(copy) - D) / mean (D(copy) - D(oracle)).

    So its mean is the ratio of means.
    None without both controls, or where recordings of the target are no nearer to the target than the source
    is.
    """
    copy, oracle = timbre.get("copy", {}), timbre.get("oracle", {})
    for system, distances in timbre.items():
        pieces = [p for p in distances if p in copy and p in oracle]
        span = np.mean([copy[p] - oracle[p] for p in pieces]) if pieces else 0.0
        if span > 0:
            yield from ((system, p, float((copy[p] - distances[p]) / span)) for p in pieces)
