"""Notes kept: transcriptions of an output and of its source beside each other; scores by mir_eval.

Conventions
-----------
* :class:`Notes` are those of a score, or heard. A :class:`Transcription` holds note events and note
  activations (T, 88) at 86.13 frames/s, column k is MIDI pitch 21 + k; a :class:`Melody` the course of a
  single line. Networks make both: :mod:`retimbre.nn.transcriber`.
* The estimate is the first argument of a score, the reference (the source, or the true target) the second.
* Silence: with a reference that has no note or no pitch a score is undefined (NaN); an output without notes
  against a reference that has some scores 0 (distance 1). So silence is never rewarded: ss-vq-vae counts
  frames in which both are empty as perfect, here they are left out.
* Trackers are noisy: read every score against the oracle row, not against 0 or 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import librosa
import mir_eval
import numpy as np

from retimbre.metrics.note_events import FRAME_THRESHOLD

ONSET_TOLERANCE_S = 0.05
LAG_WINDOW_S = 0.15  # to each side, in which notes are paired to find how late an instrument speaks
LAG_WINDOWS_S = (0.0, 0.1, 0.2, 0.3)  # around which they lie
OUTLIER_SEMITONES = 12.0
MELODY_SCORES = (
    "content_rpa", "content_rca", "content_vr", "content_vfa", "content_f0_l1", "content_f0_outlier",
)  # fmt: skip


@dataclass(frozen=True)
class Notes:
    """Notes of a recording: heard, or those of the score that it plays."""

    intervals_s: np.ndarray  # (notes, 2) onset and offset in seconds
    pitches_midi: np.ndarray  # (notes,)

    @property
    def events(self) -> tuple[np.ndarray, np.ndarray]:
        """Intervals (notes, 2) in seconds and pitches (notes,) in Hz, as mir_eval takes them."""
        return self.intervals_s, 440.0 * 2.0 ** ((self.pitches_midi - 69) / 12)

    def earlier(self, by_s: float) -> "Notes":
        """The same notes so many seconds earlier."""
        return Notes(self.intervals_s - by_s, self.pitches_midi)


@dataclass(frozen=True)
class Transcription(Notes):
    """Note events and note activations of one recording."""

    posterior: np.ndarray  # (T, 88), 0 to 1

    @property
    def active(self) -> np.ndarray:
        """(T, 88) bool: activations above the threshold."""
        return self.posterior > FRAME_THRESHOLD


class Melody(NamedTuple):
    """A single line, frame by frame: times in seconds, pitch in Hz, whether it is voiced, (T,) each."""

    times_s: np.ndarray
    hz: np.ndarray
    voiced: np.ndarray


def onset_scores(estimate: Notes, reference: Notes) -> tuple[float, float, float]:
    """Precision, recall and F1 of note onsets within 50 ms and 50 cents; offsets are ignored (MIREX).

    As mir_eval.transcription has them, whose own function refuses onsets before 0. NaN without a reference, 0
    without an estimate.
    """
    if len(reference.pitches_midi) == 0:
        return (float("nan"),) * 3
    found = len(matched_notes(estimate, reference))
    precision, recall = found / max(len(estimate.pitches_midi), 1), found / len(reference.pitches_midi)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def note_f1(estimate: Notes, reference: Notes) -> float:
    """F1 of :func:`onset_scores`."""
    return onset_scores(estimate, reference)[2]


def matched_notes(
    estimate: Notes, reference: Notes, tolerance_s: float = ONSET_TOLERANCE_S
) -> list[tuple[int, int]]:
    """Pairs (of the reference, of the estimate) of notes that :func:`note_f1` counts as the same."""
    if not len(reference.pitches_midi) or not len(estimate.pitches_midi):
        return []
    return mir_eval.transcription.match_notes(
        *reference.events, *estimate.events, onset_tolerance=tolerance_s, offset_ratio=None
    )


def lags_s(estimate: Notes, reference: Notes, around_s: float = 0.0) -> np.ndarray:
    """Lags of the estimate's onsets, positive when late, of notes that are found: (found,).

    A note's lag is within LAG_WINDOW_S of ``around_s``.
    """
    pairs = matched_notes(estimate.earlier(around_s), reference, LAG_WINDOW_S)
    true, found = np.array(pairs, np.int64).reshape(-1, 2).T
    return estimate.intervals_s[found, 0] - reference.intervals_s[true, 0]


def median_lag_s(estimates: Sequence[Notes], references: Sequence[Notes]) -> float:
    """Median lag of the notes of several recordings, positive when they are late.

    A choir is heard a fifth of a second late: where a later window finds twice as many notes within the
    tolerance, its median counts.
    """
    recordings = list(zip(estimates, references, strict=True))
    counts = {}  # of notes, by lag
    for around_s in LAG_WINDOWS_S:
        lags = np.concatenate([lags_s(*pair, around_s) for pair in recordings])
        lag_s = float(np.median(lags)) if len(lags) else 0.0
        counts[lag_s] = sum(len(matched_notes(heard.earlier(lag_s), true)) for heard, true in recordings)
    first, best = next(iter(counts)), max(counts, key=counts.get)
    return best if counts[best] >= 2 * counts[first] else first


def score_notes(estimate: Notes, score: Notes, lag_s: float) -> tuple[float, float, float]:
    """:func:`onset_scores` against the score, once the estimate is ``lag_s`` earlier."""
    return onset_scores(estimate.earlier(lag_s), score)


def _same_frames(estimate: np.ndarray, reference: np.ndarray) -> list[np.ndarray]:
    """Both (T, 88) with the frames of the longer one; missing frames are silent."""
    frames = max(len(estimate), len(reference))
    return [np.pad(x, ((0, frames - len(x)), (0, 0))) for x in (estimate, reference)]


def jaccard(estimate: Transcription, reference: Transcription) -> float:
    """Mean over sounding frames of 1 - |P and Q| / |P or Q|: 0 the same, 1 nothing in common (Cífka 2021)."""
    a, b = _same_frames(estimate.active, reference.active)
    if not b.any():
        return float("nan")
    union = (a | b).sum(axis=1)
    sounding = union > 0
    return float((1.0 - (a & b).sum(axis=1)[sounding] / union[sounding]).mean())


def active_share(estimate: Transcription, reference: Transcription) -> float:
    """Share of frames in which either has a pitch: :func:`jaccard` is the mean over them. NaN without any."""
    a, b = _same_frames(estimate.active, reference.active)
    return float((a | b).any(axis=1).mean()) if len(a) else float("nan")


def pitch_class_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular distance of pitch classes or MIDI pitches in semitones, 0 to 6: B to C is 1, not 11."""
    difference = np.abs(np.asarray(a) - np.asarray(b)) % 12
    return np.minimum(difference, 12 - difference)


def pitch_class_dtw(estimate: Transcription, reference: Transcription) -> float:
    """Pitch-class distance in semitones, 0 to 6, after time warping, which forgives every change of rhythm.

    The strongest pitch class per frame (activations, maximum over octaves), *circular* distance, cost over
    path length: the "DPD" of latent diffusion bridges (ICASSP 2025), whose code puts B and C 11 apart. Frames
    silent in both are left out; silence against a pitch costs 6.
    """
    a, b = _same_frames(estimate.posterior, reference.posterior)
    sounding = [(x > FRAME_THRESHOLD).any(axis=1) for x in (a, b)]
    if not sounding[1].any():
        return float("nan")
    kept = sounding[0] | sounding[1]
    classes = [np.stack([x[kept, k::12].max(axis=1) for k in range(12)]).argmax(axis=0) for x in (a, b)]
    cost = pitch_class_distance(classes[0][:, None], classes[1][None]).astype(float)
    cost[~(sounding[0][kept][:, None] & sounding[1][kept][None])] = 6.0
    total, path = librosa.sequence.dtw(C=cost)
    return float(total[-1, -1] / len(path))


def mpe_accuracy(estimate: Transcription, reference: Transcription, chroma: bool = False) -> float:
    """Multi-pitch accuracy TP / (TP + FP + FN) (Poliner & Ellis 2007); ``chroma`` forgives octaves.

    The difference of the two is the share of octave errors. Equal to mir_eval.multipitch on the same frames
    (a test holds it); computed on the piano roll because pitches are whole semitones here.
    """
    a, b = (x.astype(int) for x in _same_frames(estimate.active, reference.active))
    if not b.any():
        return float("nan")
    if chroma:  # pitches in MIDI order; 21 is an A, which pitch class is which does not matter
        a, b = (np.stack([x[:, k::12].sum(axis=1) for k in range(12)], axis=1) for x in (a, b))
    true = np.minimum(a, b).sum()
    return float(true / (a.sum() + b.sum() - true))


def melody_scores(estimate: Melody, reference: Melody) -> dict[str, float]:
    """Pitch of two single lines, frame by frame; all NaN when the reference has no voiced frame.

    ``content_rpa``, ``content_rca``: share of the reference's voiced frames in which the estimate is voiced
    and within 50 cents, without and with octaves forgiven; ``content_vr``: share of them in which it is
    voiced at all; ``content_vfa``: share of the reference's unvoiced frames in which the estimate is voiced,
    NaN without one (mir_eval.melody, Poliner et al. 2007). ``content_f0_l1``: mean absolute error in
    semitones over the reference's voiced frames, whatever the tracker thinks of the estimate's;
    ``content_f0_outlier``: 1 when that is above 12 or the estimate has no voiced frame, and then
    ``content_f0_l1`` is NaN: an octave lost half the time must not be averaged with cents (DDSP, Engel et al.
    2020).
    """
    frames = min(len(reference.hz), len(estimate.hz))
    ref_hz, ref_voiced = reference.hz[:frames], reference.voiced[:frames]
    est_hz, est_voiced = estimate.hz[:frames], estimate.voiced[:frames]
    scores = dict.fromkeys(MELODY_SCORES, float("nan"))
    if not ref_voiced.any():
        return scores
    if not ref_voiced.all():
        scores["content_vfa"] = float(est_voiced[~ref_voiced].mean())
    if not est_voiced.any():
        return scores | {"content_rpa": 0.0, "content_rca": 0.0, "content_vr": 0.0, "content_f0_outlier": 1.0}
    # A frame that the tracker calls unvoiced has no pitch: it stays at 0 cents, which mir_eval calls wrong.
    lines = (ref_hz, ref_voiced), (est_hz, est_voiced)
    cents = [mir_eval.melody.hz2cents(np.where(voiced, hz, 0.0)) for hz, voiced in lines]
    events = (ref_voiced.astype(float), cents[0], est_voiced.astype(float), cents[1])
    both = ref_voiced & (est_hz > 0)
    error = float(np.abs(12 * np.log2(est_hz[both] / ref_hz[both])).mean()) if both.any() else float("inf")
    return scores | {
        "content_rpa": float(mir_eval.melody.raw_pitch_accuracy(*events)),
        "content_rca": float(mir_eval.melody.raw_chroma_accuracy(*events)),
        "content_vr": float(mir_eval.melody.voicing_recall(events[0], events[2])),
        "content_f0_l1": error if error <= OUTLIER_SEMITONES else float("nan"),
        "content_f0_outlier": float(error > OUTLIER_SEMITONES),
    }
