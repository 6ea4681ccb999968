"""Pitch classes of spectra: folding of bins, and the likeness of two courses of them."""

import numpy as np

LOWEST_HZ = 30.0  # bins below sound no note
ACTIVE_RANGE_DB = 50.0  # a frame sounds when its loudest bin is at most this far below the loudest of all ...
LEAST_DB = -90.0  # ... and above this
TINY = 1e-9


def pitch_class_fold(frequencies_hz: np.ndarray, nearest: bool = False) -> np.ndarray:
    """(12, F): 1 where a bin of centre frequency (F,) Hz belongs to a pitch class; class 0 is that of the
    lowest bin that sounds a note.

    A class holds the bins of its semitone from the note upwards; ``nearest``: those around the note.
    """
    audible = frequencies_hz > LOWEST_HZ
    semitones = 12 * np.log2(np.maximum(frequencies_hz, LOWEST_HZ) / frequencies_hz[audible][0])
    classes = np.floor(semitones + 0.5 * nearest + 1e-6).astype(int) % 12  # half-way and up, despite rounding
    return ((classes == np.arange(12)[:, None]) & audible).astype(np.float64)


def chroma(spectrum_db: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Magnitude per pitch class: spectrum (F, T) in dB, fold (12, F) -> (12, T)."""
    return fold @ 10.0 ** (spectrum_db.astype(np.float64) / 20.0)


def sounding(spectrum_db: np.ndarray) -> np.ndarray:
    """Frames (T,) of a spectrum (F, T) in dB that sound: within ``ACTIVE_RANGE_DB`` of the loudest."""
    peak = spectrum_db.max(axis=0)
    return peak > max(peak.max() - ACTIVE_RANGE_DB, LEAST_DB)


def chroma_correlation(output_db: np.ndarray, source_db: np.ndarray, fold: np.ndarray) -> float:
    """Correlation over the pitch classes of two spectra (F, T), mean over the frames where the source sounds.

    1: same pitch classes in the same proportions. A silent frame of the output counts 0. NaN when the source
    is silent throughout.
    """
    frames = sounding(source_db)
    if not frames.any():
        return float("nan")
    a, b = (chroma(x[:, frames], fold) for x in (output_db, source_db))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float(((a * b).sum(axis=0) / (np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)) + TINY)).mean())
