"""Sound and pictures as data URIs: what a page needs to stand alone."""

import base64
import io

import numpy as np
import soundfile
from matplotlib import colormaps
from PIL import Image

from retimbre.audio.levels import rms

RMS, PEAK = 0.1, 0.99  # players are levelled to one RMS, so that loudness does not decide what is liked
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_QUALITY = 0.4  # libsndfile's compression level, variable bit rate: about 50 kbit/s for mono at 16 kHz


def uri(data: bytes, kind: str) -> str:
    """Bytes of the media type ``kind`` as a data URI."""
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def audio_uri(audio: np.ndarray, sample_rate: int) -> str:
    """Mono audio (N,), levelled, as MP3 in a data URI: played by every browser, a third of FLAC.

    Rates that MP3 does not have are sent as FLAC, which current browsers play too. Silence stays silent.
    """
    now, peak = rms(audio), float(np.abs(audio).max(initial=0.0))
    gain = min(RMS / now, PEAK / peak) if now > 1e-5 else 1.0
    samples, buffer = np.clip(gain * audio, -1, 1).astype(np.float32), io.BytesIO()
    if sample_rate in MP3_RATES:
        quality = {"compression_level": MP3_QUALITY, "bitrate_mode": "VARIABLE"}
        soundfile.write(buffer, samples, sample_rate, format="MP3", **quality)
        return uri(buffer.getvalue(), "audio/mpeg")
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return uri(buffer.getvalue(), "audio/flac")


def palette_png(indices: np.ndarray, colours: np.ndarray) -> bytes:
    """A PNG of F x T pixels from rows of numbers (F, T), lowest first, of ``colours`` (n, 3) uint8."""
    image = Image.fromarray(np.ascontiguousarray(indices[::-1], np.uint8), mode="P")
    image.putpalette(colours.astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


SHADES = 64
COLUMNS = 320  # at most, of a spectrum
MAGMA = (255 * colormaps["magma"](np.linspace(0, 1, SHADES))[:, :3]).round()


def pooled(spectrum_db: np.ndarray, columns: int) -> np.ndarray:
    """(F, T) -> (F, at most ``columns``): the loudest of neighbouring frames, so that onsets stay."""
    width = max(1, -(-spectrum_db.shape[1] // columns))
    padded = np.pad(spectrum_db, ((0, 0), (0, -spectrum_db.shape[1] % width)), mode="edge")
    return padded.reshape(len(spectrum_db), -1, width).max(axis=2)


def spectrum_png(db: np.ndarray, top_db: float, range_db: float) -> bytes:
    """Spectrum (F, T) in dB in the colours magma, from ``range_db`` below ``top_db`` (black) up to it."""
    shares = ((pooled(db, COLUMNS) - top_db) / range_db + 1).clip(0, 1)
    return palette_png((shares * (SHADES - 1)).round(), MAGMA)
