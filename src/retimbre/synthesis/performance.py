"""MIDI files played note by note on a generator of notes."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from retimbre.datasets.scores.performance import PlayedNote
from retimbre.errors import RetimbreError
from retimbre.synthesis.base import Synthesiser

RELEASE_S = 0.1  # in which a note dies away after its end
CHUNK = 32  # notes that are made at once


def between(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The point ``share`` of the way from latent (Z,) to another, along the arc of a sphere: means of normal
    noise would lie nearer to the middle than any noise does. White 2016, as GANSynth's users.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, 0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if torch.sin(angle) < 1e-4:
        return (1 - share) * a + share * b
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def walk(model: Synthesiser, times_s: Sequence[float], seed: int, step_s: float | None) -> Tensor:
    """A latent for every time: always the same one, or a new one every ``step_s`` seconds and between them
    points on the way: (len(times_s), Z).
    """
    if not step_s:
        return model.latents(1, seed).expand(len(times_s), -1)
    stations = model.latents(int(max(times_s) / step_s) + 2, seed)
    found = []
    for time in times_s:
        place, share = divmod(time / step_s, 1)
        found.append(between(stations[int(place)], stations[int(place) + 1], share))
    return torch.stack(found)


def within(pitch: int, pitches: Sequence[int]) -> int:
    """The pitch, or its nearest octave among ``pitches``; if there is none, the nearest pitch."""
    octaves = [known for known in pitches if (known - pitch) % 12 == 0] or list(pitches)
    return min(octaves, key=lambda known: abs(known - pitch))


def play(notes: Sequence[PlayedNote], model: Synthesiser, seed: int, step_s: float | None) -> np.ndarray:
    """Audio (N,) of notes, in their time: each begins, is cut where it ends, or ends with what the generator
    makes. ``step_s``: see :func:`walk`.

    Raises RetimbreError for a generator that cannot be asked for pitches, and without notes.
    """
    if not model.pitches:
        raise RetimbreError("this generator knows no pitches, so it plays no MIDI file: take gansynth.")
    if not notes:
        raise RetimbreError("the MIDI file has no notes: give one that has.")
    rate = model.sample_rate
    latents = walk(model, [note.start_s for note in notes], seed, step_s)
    pitches = [within(note.pitch, model.pitches) for note in notes]
    audio = np.zeros(round(max(note.start_s for note in notes) * rate) + model.samples, np.float32)

    @cache
    def of_one_latent(pitch: int) -> np.ndarray:
        return model.decode(latents[:1], [pitch])[0]

    for first in range(0, len(notes), CHUNK):
        part = slice(first, first + CHUNK)
        made = (
            model.decode(latents[part], pitches[part])
            if step_s
            else [of_one_latent(pitch) for pitch in pitches[part]]
        )
        for note, sound in zip(notes[part], made, strict=True):
            start = round(note.start_s * rate)
            audio[start : start + model.samples] += (note.velocity / 127) ** 2 * released(
                sound, note.end_s - note.start_s, rate
            )
    return audio / max(1.0, float(np.abs(audio).max()))


def released(sound: np.ndarray, held_s: float, rate: int) -> np.ndarray:
    """A note (N,) that fades from its end on, and is silent 0.1 s later."""
    t = np.arange(len(sound)) / rate
    return sound * np.clip(1 - (t - held_s) / RELEASE_S, 0, 1).astype(np.float32)
