"""Energies of the score's notes in an output, against those in the true target. No transcriber.

Where to look
-------------
* A note: the constant-Q bins of its first four partials, over its first 200 ms (or as long as it lasts). Only
  partials that are heard apart count (*unmasked*): those within a semitone of one of the first eight partials
  of another note that sounds then are left out, and notes that have none left.
* Ghosts of it: the octaves above and below. Of each only the fundamental, if no other note's partials mask it
  (and so no note is there). The one above lies on the note's own second partial, which an octave below has
  no part in: so a ghost is not what is strong, it is what is much stronger than the true target has it.

Spectra are (F, T) in dB, the output's brought to the target's loudness before.
"""

from dataclasses import dataclass

import numpy as np

from retimbre.metrics.notes import Notes

PARTIALS, MASKING_PARTIALS = 4, 8  # of the note that is measured, and of those that may hide it
FIRST_S, SHORTEST_FRAMES = 0.2, 3
NEAR_SEMITONES = 1.0
HALF_WIDTH_SEMITONES = 0.5  # of the bins that count for a partial
OCTAVES = {0: PARTIALS, 12: 1, -12: 1}  # semitones from the note -> partials: the note itself and its ghosts
WEAK_DB = 6.0  # a note that lost more is lost
GHOST_DB, GHOST_RANGE_DB = 6.0, 20.0  # over what the true target has there, and under the true target's note
LIMIT_DB = 30.0  # of one note's error: what is gone is gone
SILENT_DB, FLOOR_DB = 60.0, -80.0  # under the loudest note, and ever: the true target does not play it


def _partials(pitches: np.ndarray, count: int) -> np.ndarray:
    """MIDI pitches of the first partials of some notes, (all of them,)."""
    return (np.asarray(pitches, np.float64)[:, None] + 12.0 * np.log2(np.arange(1, count + 1))).ravel()


@dataclass(frozen=True)
class Places:
    """Places in a spectrum of the ``notes`` of a score and of their ghosts, one row for each bin: its number
    ``bin``, the frames from ``start`` to ``stop``, and ``what`` is there (3 n + place in OCTAVES, of note n).
    """

    notes: int
    bin: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    what: np.ndarray

    @classmethod
    def of(cls, score: Notes, frequencies_hz: np.ndarray, frame_rate_hz: float, frames: int) -> "Places":
        """Places of the notes that begin within a spectrum of so many frames, whose bins are centred on
        ``frequencies_hz`` (F,).
        """
        centres = 69.0 + 12.0 * np.log2(frequencies_hz / 440.0)  # MIDI
        onsets, ends = score.intervals_s.T
        rows: list[tuple[int, int, int, int]] = []
        for n, pitch in enumerate(score.pitches_midi):
            end = min(onsets[n] + FIRST_S, ends[n])
            start, stop = int(np.ceil(onsets[n] * frame_rate_hz)), min(int(end * frame_rate_hz) + 1, frames)
            if onsets[n] < 0 or stop - start < SHORTEST_FRAMES:
                continue
            others = (onsets < end) & (ends > onsets[n]) & (np.arange(len(onsets)) != n)
            masks = _partials(score.pitches_midi[others], MASKING_PARTIALS)
            for place, (octave, count) in enumerate(OCTAVES.items()):
                own = _partials([pitch + octave], count)
                apart = (np.abs(own[:, None] - masks) > NEAR_SEMITONES).all(axis=1)
                near = np.abs(centres - own[apart][:, None]) <= HALF_WIDTH_SEMITONES + 1e-6
                rows += [(int(b), start, stop, len(OCTAVES) * n + place) for b in near.nonzero()[1]]
        return cls(len(onsets), *np.array(rows, np.int64).reshape(-1, 4).T)

    def energies_db(self, spectrum_db: np.ndarray, shift: int = 0) -> np.ndarray:
        """Energies (notes, 3) in a spectrum that is ``shift`` frames late; NaN where nothing is unmasked."""
        total = np.zeros((spectrum_db.shape[0], spectrum_db.shape[1] + 1))
        np.cumsum(10.0 ** (spectrum_db.astype(np.float64) / 10.0), axis=1, out=total[:, 1:])
        start, stop = (np.clip(x + shift, 0, spectrum_db.shape[1]) for x in (self.start, self.stop))
        power = (total[self.bin, stop] - total[self.bin, start]) / np.maximum(stop - start, 1)
        size = len(OCTAVES) * self.notes
        summed = np.bincount(self.what, np.maximum(power, 1e-12), minlength=size).astype(np.float64)
        summed[np.bincount(self.what, minlength=size) == 0] = np.nan
        return 10.0 * np.log10(summed).reshape(self.notes, len(OCTAVES))


def _mean(x: np.ndarray) -> float:
    return float(x.mean()) if x.size else float("nan")


def energy_scores(
    output_db: np.ndarray, target_db: np.ndarray, shift: int, places: Places
) -> dict[str, float]:
    """The notes of an output beside the true target's; all NaN when no note is unmasked.

    ``energy_error_db``: mean over notes of output minus target, each at most 30 dB off; ``energy_lost``:
    share of notes that are more than 6 dB too weak; ``energy_ghosts``: share of empty octaves in which the
    output is more than 6 dB stronger than the target, and not 20 dB weaker than the target's note. A second
    performance has ghosts, too, one or two in a hundred: that is what they are to be compared with.

    ``shift``: frames that the output is late.
    """
    ours, true = places.energies_db(output_db, shift), places.energies_db(target_db)
    loudest = np.nanmax(true[:, 0], initial=-np.inf)
    played = true[:, 0] > max(loudest - SILENT_DB, FLOOR_DB)  # not where it is NaN
    ours, true = ours[played], true[played]
    error = (ours - true)[:, 0].clip(-LIMIT_DB, LIMIT_DB)
    ghost = (ours > true + GHOST_DB) & (ours > true[:, :1] - GHOST_RANGE_DB)
    return {
        "energy_error_db": _mean(error),
        "energy_lost": _mean(error < -WEAK_DB),
        "energy_ghosts": _mean(ghost[:, 1:][np.isfinite(true[:, 1:])]),
    }
