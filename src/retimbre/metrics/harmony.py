"""Harmony and rhythm kept: an output beside its source. Conventions as in :mod:`retimbre.metrics.spectral`.

A ``fold`` (12, F) says which bins of a constant-Q spectrum are of a pitch class
(:func:`retimbre.audio.chroma.pitch_class_fold`).
"""

import librosa
import mir_eval
import numpy as np

from retimbre.audio.chroma import chroma, chroma_correlation, sounding
from retimbre.metrics.memory import kept_by_content
from retimbre.metrics.spectral import validate

HOP = 256  # samples between onset frames: 16 ms at 16 kHz
ONSET_TOLERANCE_S = 0.05
SILENT_CHROMA = 1e-3  # sum of the 12 classes' magnitudes under which a frame has no harmony
KEPT = 64


def peak_agreement(output_db: np.ndarray, source_db: np.ndarray, fold: np.ndarray) -> float:
    """Share of the source's sounding frames whose strongest pitch class is the output's as well.

    A silent frame of the output has no strongest class and counts as a miss. NaN for a silent source.
    """
    frames = sounding(source_db)
    if not frames.any():
        return float("nan")
    a, b = (chroma(x[:, frames], fold) for x in (output_db, source_db))
    audible = np.ptp(a, axis=0) > 1e-4
    return float(((a.argmax(axis=0) == b.argmax(axis=0)) & audible).mean())


def content_chroma_ratio(
    output_db: np.ndarray, source_db: np.ndarray, target_db: np.ndarray, fold: np.ndarray
) -> float:
    """:func:`chroma_correlation` of the output with the source, divided by that of the true target.

    1: as like the source as the target instrument is when it plays these notes; above 1: closer than that.
    All three are constant-Q spectra (F, T) in dB.
    """
    return _relative(chroma_correlation, output_db, source_db, target_db, fold)


def content_peak_ratio(
    output_db: np.ndarray, source_db: np.ndarray, target_db: np.ndarray, fold: np.ndarray
) -> float:
    """:func:`peak_agreement` of the output divided by that of the true target."""
    return _relative(peak_agreement, output_db, source_db, target_db, fold)


def _relative(likeness, output_db, source_db, target_db, fold) -> float:
    for x in (output_db, target_db):
        validate(x, source_db, 2)
    ceiling = likeness(target_db, source_db, fold)
    return likeness(output_db, source_db, fold) / ceiling if ceiling > 0 else float("nan")


def content_chroma_dtw(output: np.ndarray, source: np.ndarray) -> float:
    """Harmonic distance that forgives timing, 0 to 1: dynamic time warping of chroma (12, T), cosine cost,
    per step of the path (librosa.sequence.dtw).

    Frames that are silent in both are left out; silence against sound costs 1. NaN for a silent source. It
    saturates early and forgives every change of rhythm, so it is never read alone.
    """
    for name, x in (("output", output), ("source", source)):
        if x.ndim != 2 or len(x) != 12 or not np.isfinite(x).all():
            raise ValueError(f"{name} must be finite chroma of shape (12, T), not {x.shape}")
    frames = min(output.shape[1], source.shape[1])
    pair = [x[:, :frames].astype(np.float64) for x in (output, source)]
    loud = [x.sum(axis=0) > SILENT_CHROMA for x in pair]
    if not loud[1].any():
        return float("nan")
    kept = loud[0] | loud[1]
    a, b = (np.where(sounds, x, 0.0)[:, kept] for x, sounds in zip(pair, loud, strict=True))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=0), 1e-12) for x in (a, b))
    total, path = librosa.sequence.dtw(C=np.clip(1.0 - a.T @ b, 0.0, 1.0))
    return float(total[-1, -1] / len(path))


@kept_by_content(KEPT)
def onsets_s(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Times of onsets in seconds (librosa's spectral flux and peak picking with its defaults)."""
    y = audio.astype(np.float32)
    found = librosa.onset.onset_detect(y=y, sr=sample_rate, hop_length=HOP, units="time")
    return np.asarray(found, np.float64)


def content_onset_f1(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """F1 of onsets within 50 ms (mir_eval.onset, MIREX): rhythm without pitch. Bowed instruments score low.

    NaN when the source has no onset, 0 when only the output has none.
    """
    reference, estimate = onsets_s(source, sample_rate), onsets_s(output, sample_rate)
    if len(reference) == 0:
        return float("nan")
    if len(estimate) == 0:
        return 0.0
    return float(mir_eval.onset.f_measure(reference, estimate, window=ONSET_TOLERANCE_S)[0])
