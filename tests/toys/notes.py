"""Notes for generators: tones of a few partials that decay."""

import numpy as np

from retimbre.synthesis.base import Notes


def toy_notes(count: int = 6, samples: int = 4096, sample_rate: int = 16000) -> Notes:
    """``count`` notes, a semitone apart from MIDI 60 on, of two instruments in turn."""
    t = np.arange(samples) / sample_rate
    pitch = 60 + np.arange(count)
    instrument = np.arange(count) % 2
    velocity = np.linspace(40, 120, count).astype(int)
    partials = np.arange(1, 7)
    audio = []
    for p, of, v in zip(pitch, instrument, velocity, strict=True):
        frequencies = 440 * 2 ** ((p - 69) / 12) * partials[:, None]
        levels = partials[:, None] ** (-1.0 - of)
        audio.append(v / 400 * (levels * np.sin(2 * np.pi * frequencies * t)).sum(0) * np.exp(-6 * t))
    return Notes(np.stack(audio).astype(np.float32), pitch, velocity, instrument, ("a", "b"), sample_rate)
