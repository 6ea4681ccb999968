"""Content made to vary as it does between instruments, for training; transposed or evened out by hand.

B batch, C channels (contours, notes, onsets, loudness, as :mod:`retimbre.nn.transcriber.content` has them), T
frames. Posteriors of held notes fall as the instrument's sound does, and loudness with them: an instrument
that decays would be heard in what another one plays. So the training sees every course of a note.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.nn.transcriber.content import CONTOUR, LOUDNESS, NOTE, ONSET, POSTERIORS

HELD = slice(CONTOUR.start, NOTE.stop)  # what follows the course of a note; onsets do not
TIMES = (2.0, 40.0)  # frames in which a lengthened note falls to 1/e
SLOW_TIMES = (30.0, 150.0)  # frames, of the envelope that shortened notes are measured by
LENGTHENED, SHORTENED = 0.35, 0.35  # shares of the crops
STEEPEST = 1.5  # power of how far a shortened note has fallen
EXPONENTS = (0.4, 0.6)  # of posteriors, at most that much below and above 1
OFFSET, NOISE = 0.1, 0.02  # standard deviations, of loudness as a whole and of every cell
SMOOTHED = 31  # frames of the smoothest loudness
IN_TUNE = (0.24, 1.0, 0.32)  # contours of a note that is in tune, to its highest: means of 29,000 frames
SOUNDS = 0.5  # posterior from which a note counts
RANGE_SHARE = 0.01  # of an instrument's notes, at either end, that its range leaves out
FURTHEST = 4  # octaves
SEMITONES = 6  # by which crops are moved, at most


def held(posteriors: Tensor, frames: Tensor) -> Tensor:
    """Envelope (B, C, T) that rises with (B, C, T) and falls to 1/e in so many ``frames`` (B,)."""
    fall = torch.exp(-1 / frames)[:, None]
    found, last = torch.empty_like(posteriors), torch.zeros_like(posteriors[..., 0])
    for t in range(posteriors.shape[-1]):
        last = torch.maximum(posteriors[..., t], last * fall)
        found[..., t] = last
    return found


def vary_sustain(content: Tensor, rng: np.random.Generator, amount: float) -> Tensor:
    """Content (B, C, T) whose notes are lengthened, shortened or left, and whose loudness is smoothed.

    ``amount``: 0 changes nothing, 1 everything up to a note that does not decay at all.
    """
    if not amount:
        return content
    batch = len(content)

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, batch)).float()

    posteriors = content[:, HELD]
    kind, times, slow = draw(0, 1), draw(*TIMES), draw(*SLOW_TIMES)
    share, power, smooth = draw(0, min(amount, 1)), draw(0, STEEPEST * amount), draw(0, min(amount, 1))
    longer = torch.lerp(posteriors, held(posteriors, times), share[:, None, None])
    fallen = (posteriors / held(posteriors, slow).clamp(min=1e-3)).clamp(0, 1)
    shorter = posteriors * fallen ** power[:, None, None]
    kind = kind[:, None, None]
    changed = torch.where(kind < LENGTHENED, longer, torch.where(kind > 1 - SHORTENED, shorter, posteriors))
    loudness = content[:, LOUDNESS]  # (B, 1, T)
    loudness = torch.lerp(loudness, smoothed(loudness), smooth[:, None, None])
    return torch.cat([changed, content[:, ONSET], loudness], 1)


def vary_levels(content: Tensor, rng: np.random.Generator, amount: float) -> Tensor:
    """Content (B, C, T) with other exponents of its posteriors, another loudness, and noise.

    ``amount``: 0 changes nothing, 1 takes posteriors to powers of 0.6 to 1.6.
    """
    if not amount:
        return content
    below, above = (amount * x for x in EXPONENTS)
    powers = torch.from_numpy(rng.uniform(1 - below, 1 + above, (len(content), 3))).float()
    parts = [
        content[:, which].clamp(1e-4, 1) ** powers[:, n, None, None]
        for n, which in enumerate((CONTOUR, NOTE, ONSET))
    ]
    offset = torch.from_numpy(rng.normal(0, OFFSET * amount, (len(content), 1, 1))).float()
    varied = torch.cat([*parts, content[:, POSTERIORS:] + offset], 1)
    return varied + NOISE * amount * torch.from_numpy(rng.standard_normal(varied.shape, np.float32))


def smoothed(loudness: Tensor) -> Tensor:
    """Loudness (B, 1, T), averaged over half a second."""
    around = functional.pad(loudness, (SMOOTHED // 2, SMOOTHED // 2), "replicate")
    return functional.avg_pool1d(around, SMOOTHED, 1)


def transposed(content: Tensor, semitones: int) -> Tensor:
    """Content (B, C, T) with all pitches so much higher; what leaves the keyboard is lost."""
    parts = [
        shifted(content[:, which], semitones * bins, 0.0)
        for which, bins in ((CONTOUR, 3), (NOTE, 1), (ONSET, 1))
    ]
    return torch.cat([*parts, content[:, POSTERIORS:]], 1)


def shifted(x: Tensor, bins: int, fill: float | None = None) -> Tensor:
    """``x`` (B, F, T) with every bin moved up by so many.

    Bins that nothing comes from have the value ``fill`` (None: that of the bin at their end).
    """
    count = x.shape[1]
    moved = x[:, (torch.arange(count, device=x.device) - bins).clamp(0, count - 1)]
    if fill is not None:
        moved[:, slice(0, bins) if bins >= 0 else slice(bins, None)] = fill
    return moved


def vary_pitch(
    content: Tensor, spectra: Sequence[Tensor], rng: np.random.Generator, share: float, bins_per_octave: int
) -> None:
    """Move ``share`` of the crops up or down by 1 to 6 semitones, in place: content (B, C, T) and spectra
    (B, F, T) on a constant-Q scale. So keys that are rare in the recordings are learnt from their neighbours.
    """
    for i in np.flatnonzero(rng.random(len(content)) < share):
        semitones = int(rng.integers(1, SEMITONES + 1)) * int(rng.choice([-1, 1]))
        content[i : i + 1] = transposed(content[i : i + 1], semitones)
        for x in spectra:
            x[i : i + 1] = shifted(x[i : i + 1], round(semitones * bins_per_octave / 12))


def evened(content: Tensor, expression: float) -> Tensor:
    """Content (B, C, T) with so much (0 to 1) of its bends, vibrato and swells: 0 is in tune and even."""
    batch, _, frames = content.shape
    highest = content[:, CONTOUR].reshape(batch, -1, 3, frames).amax(2, keepdim=True)  # (B, 88, 1, T)
    in_tune = (highest * torch.tensor(IN_TUNE)[:, None]).reshape(batch, -1, frames)
    contours = torch.lerp(in_tune, content[:, CONTOUR], expression)
    loudness = content[:, LOUDNESS]
    loudness = torch.lerp(smoothed(loudness), loudness, expression)
    return torch.cat([contours, content[:, NOTE.start : POSTERIORS], loudness], 1)


def notes_heard(content: np.ndarray) -> np.ndarray:
    """Frames in which each of the 88 keys sounds, of content (T, C): (88,)."""
    return (content[:, NOTE] > SOUNDS).sum(0)


def range_of(frames: np.ndarray) -> tuple[int, int]:
    """Lowest and highest key (0 to 87) of an instrument, from the frames (88,) in which each sounds."""
    below = np.cumsum(frames) / max(frames.sum(), 1)
    return int((below < RANGE_SHARE).sum()), int((below < 1 - RANGE_SHARE).sum())


def octaves_into(frames: np.ndarray, lowest: int, highest: int) -> int:
    """The fewest octaves that bring most of what sounds, frames of each key (88,), between two keys."""
    keys = np.flatnonzero(frames)

    def outside(octaves: int) -> int:
        moved = keys + 12 * octaves
        return int(frames[keys[(moved < lowest) | (moved > highest)]].sum())

    return min(range(-FURTHEST, FURTHEST + 1), key=lambda octaves: (outside(octaves), abs(octaves)))
