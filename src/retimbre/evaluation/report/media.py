"""Sound and pictures of a page, small enough to be carried inside it."""

import base64
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soundfile
from matplotlib import colormaps
from PIL import Image

from retimbre.audio.formats import FORMATS
from retimbre.audio.levels import rms

RMS, PEAK = 0.1, 0.99  # players are levelled to one RMS, so that loudness does not decide what is liked
MP3_LEVEL = 0.94  # libsndfile's compression level, average bit rate: 18 kbit/s for mono at 16 kHz
WEBP_QUALITY = 40  # of 100
COLUMNS = 260  # at most, of a picture
MAGMA = (255 * colormaps["magma"](np.linspace(0, 1, 256))[:, :3]).round().astype(np.uint8)


class Medium(NamedTuple):
    """Bytes of a sound or of a picture, and their media type."""

    kind: str
    data: bytes

    @property
    def size(self) -> int:
        """Characters that it takes in a page."""
        return -(-len(self.data) // 3) * 4


class Media:
    """The media of a page, each once however often it is shown: equal ones have one name."""

    def __init__(self) -> None:
        self.names: dict[Medium, str] = {}

    def name(self, medium: Medium) -> str:
        return self.names.setdefault(medium, f"medium-{len(self.names)}")

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Names, media types, and the bytes in base 64."""
        for medium, name in self.names.items():
            yield name, medium.kind, base64.b64encode(medium.data).decode()


def sound(audio: np.ndarray, sample_rate: int) -> Medium:
    """Mono audio (N,), levelled, as MP3; equal audio gives equal bytes.

    Every browser plays MP3, and its long blocks keep held notes better than Opus does at such rates.
    Rates that MP3 does not have are sent as FLAC, which current browsers play too. Silence stays silent.
    """
    now, peak = rms(audio), float(np.abs(audio).max(initial=0.0))
    gain = min(RMS / now, PEAK / peak) if now > 1e-5 else 1.0
    samples, buffer = np.clip(gain * audio, -1, 1).astype(np.float32), io.BytesIO()
    if sample_rate in FORMATS["mp3"].rates:
        quality = {"compression_level": MP3_LEVEL, "bitrate_mode": "AVERAGE"}
        soundfile.write(buffer, samples, sample_rate, format="MP3", **quality)
        return Medium("audio/mpeg", buffer.getvalue())
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return Medium("audio/flac", buffer.getvalue())


def webp(colours: np.ndarray) -> Medium:
    """A picture of F x T pixels from ``colours`` (F, T, 3) uint8, lowest row first; the same bytes for the
    same colours.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(colours[::-1]))
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return Medium("image/webp", buffer.getvalue())


def pooled(spectrum_db: np.ndarray, columns: int) -> np.ndarray:
    """(F, T) -> (F, at most ``columns``): the loudest of neighbouring frames, so that onsets stay."""
    width = max(1, -(-spectrum_db.shape[1] // columns))
    padded = np.pad(spectrum_db, ((0, 0), (0, -spectrum_db.shape[1] % width)), mode="edge")
    return padded.reshape(len(spectrum_db), -1, width).max(axis=2)


def spectrum_picture(db: np.ndarray, top_db: float, range_db: float) -> Medium:
    """Spectrum (F, T) in dB in the colours magma, from ``range_db`` below ``top_db`` (black) up to it."""
    shares = ((pooled(db, COLUMNS) - top_db) / range_db + 1).clip(0, 1)
    return webp(MAGMA[(shares * 255).round().astype(int)])
