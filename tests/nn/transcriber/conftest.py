"""Real music for the transcriber: rendered once."""

import numpy as np
import pytest
import soxr

from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import PlayedNote

RATE = 16000


@pytest.fixture(scope="session")
def music():
    """Music of 16 s at 16 kHz, RMS 0.1, by instrument: chords, a run, a rest of 2 s, a soft end."""
    chords = [PlayedNote(t, t + 0.9, p, 80) for t in range(5) for p in (43 + t, 55, 59 + t, 74)]
    run = [PlayedNote(5 + 0.125 * k, 5.1 + 0.125 * k, 60 + k, 100) for k in range(20)]
    soft = [PlayedNote(10 + 0.5 * k, 10.5 + 0.5 * k, 67 - k, 30) for k in range(10)]
    played, font = chords + run + soft, soundfont.default_font()

    def render(domain):
        audio = soundfont.render(played, soundfont.instrument(domain).program, font, 16.0)
        audio = soxr.resample(audio, soundfont.RENDER_RATE, RATE)
        return audio * np.float32(0.1 / audio.std())

    return {domain: render(domain) for domain in ("piano", "guitar", "flute")}
