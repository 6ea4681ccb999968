"""Averages of the training notes."""

import numpy as np

from retimbre.audio.levels import rms
from retimbre.errors import RetimbreError
from retimbre.synthesis.base import Notes, hertz
from retimbre.synthesis.parametric.params import Params
from retimbre.synthesis.parametric.system import (
    HARMONICS,
    LEVELS,
    LOWEST_HZ,
    Averages,
    Synthesiser,
    band_centres,
)
from retimbre.training.fit import History, Run

DETUNED = 2 ** (0.3 / 12)  # harmonics are looked for within so much of their place


def harmonics(audio: np.ndarray, pitch: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and log amplitudes of a note's harmonics (N,), relative to all of them together."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    places = np.arange(1, HARMONICS + 1) * hertz(pitch)
    places = places[places * DETUNED < rate / 2]
    bins = len(audio) / rate
    peaks = np.array(
        [spectrum[int(f / DETUNED * bins) : int(np.ceil(f * DETUNED * bins)) + 1].max() for f in places]
    )
    power = max(float(np.square(peaks).sum()), 1e-12)
    return places, 0.5 * np.log(np.maximum(peaks**2 / power, 1e-10))


def envelope(notes: list[tuple[np.ndarray, np.ndarray]], bands: int, rate: int) -> np.ndarray:
    """Mean log amplitude (bands,) of the harmonics in each band; between bands without any it is linear."""
    f, level = (np.concatenate(parts) for parts in zip(*notes, strict=True))
    place = np.floor(bands * np.log(f / LOWEST_HZ) / np.log(rate / 2 / LOWEST_HZ)).astype(int).clip(0)
    sums, counts = np.bincount(place, level, bands)[:bands], np.bincount(place, minlength=bands)[:bands]
    heard, centres = counts > 0, np.log(band_centres(bands, rate))
    return np.interp(centres, centres[heard], sums[heard] / counts[heard])


def decay(audio: np.ndarray, frames: int) -> np.ndarray:
    """RMS (frames,) of equal parts of notes (B, N) relative to the loudest, their mean over notes."""
    parts = audio[:, : audio.shape[1] // frames * frames].reshape(len(audio), frames, -1)
    level = np.sqrt(np.mean(np.square(parts, dtype=np.float64), axis=2))
    return (level / np.maximum(level.max(axis=1, keepdims=True), 1e-9)).mean(axis=0)


def fit(notes: Notes, p: Params, run: Run) -> tuple[Synthesiser, History]:
    """Average the notes of each instrument. Raises RetimbreError for words, which have no pitch."""
    if not notes.instruments:
        raise RetimbreError("parametric makes notes of a pitch, and words have none: leave it out.")
    rate, found = notes.sample_rate, []
    for k in range(len(notes.instruments)):
        own = np.flatnonzero(notes.instrument == k)
        audio = notes.audio[own]
        heard = [harmonics(x, pitch, rate) for x, pitch in zip(audio, notes.pitch[own], strict=True)]
        levels = np.quantile([rms(x) for x in audio], np.linspace(0, 1, LEVELS))
        found.append((envelope(heard, p.bands, rate), decay(audio, p.frames), levels, len(own)))
    envelopes, decays, levels, sizes = (np.array(part, float) for part in zip(*found, strict=True))
    averages = Averages(envelopes, decays, levels, sizes / sizes.sum())
    pitches = sorted({int(pitch) for pitch in notes.pitch})
    return Synthesiser(averages, pitches, rate, notes.audio.shape[1]), [{"step": 0}]
