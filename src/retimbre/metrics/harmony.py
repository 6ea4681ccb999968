"""Harmony and rhythm kept: an output beside its source. Conventions as in :mod:`retimbre.metrics.spectral`."""

import librosa
import mir_eval
import numpy as np

from retimbre.metrics.memory import kept_by_content

HOP = 256  # samples between onset frames: 16 ms at 16 kHz
ONSET_TOLERANCE_S = 0.05
SILENT_CHROMA = 1e-3  # sum of the 12 classes' magnitudes under which a frame has no harmony
KEPT = 64


def content_chroma_dtw(output: np.ndarray, source: np.ndarray) -> float:
    """Harmonic distance that forgives timing, 0 to 1: dynamic time warping of chroma (12, T), cosine cost, per step of the path.

    Frames that are silent in both are left out; silence against sound costs 1. NaN for a silent source. It saturates
    early and forgives every change of rhythm, so it is never read alone (librosa.sequence.dtw).
    """
    for name, chroma in (("output", output), ("source", source)):
        if chroma.ndim != 2 or len(chroma) != 12 or not np.isfinite(chroma).all():
            raise ValueError(f"{name} must be finite chroma of shape (12, T), not {chroma.shape}")
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
    """Times of onsets in seconds (librosa's spectral flux and peak picking with its defaults). Kept by content."""
    return np.asarray(librosa.onset.onset_detect(y=audio.astype(np.float32), sr=sample_rate, hop_length=HOP, units="time"), np.float64)


def content_onset_f1(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """F1 of detected onsets within 50 ms (mir_eval.onset, MIREX): rhythm without pitch. Bowed instruments score low by nature.

    NaN when the source has no onset, 0 when only the output has none.
    """
    reference, estimate = onsets_s(source, sample_rate), onsets_s(output, sample_rate)
    if len(reference) == 0:
        return float("nan")
    return float(mir_eval.onset.f_measure(reference, estimate, window=ONSET_TOLERANCE_S)[0]) if len(estimate) else 0.0
