"""Damaged recordings by number: every container that libsndfile writes, its header or end changed."""

import functools
import io

import numpy as np
import soundfile

RATE = 8000
KINDS = sorted(set(soundfile.available_formats()) - {"RAW", "SD2"})  # without a header; in two files
SUBTYPES = "PCM_16 FLOAT PCM_24 PCM_U8 ULAW IMA_ADPCM MS_ADPCM GSM610 ALAC_16 OPUS".split()
EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x01")


@functools.cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """(container, bytes) of half a second of music, by container and encoding."""
    t = np.arange(RATE // 2) / RATE
    x = 0.3 * np.sin(2 * np.pi * 440 * t) * np.hanning(len(t))
    found = []
    for kind in KINDS:
        for subtype in (None, *SUBTYPES):
            for channels in (1, 2):
                buffer = io.BytesIO()
                try:
                    soundfile.write(buffer, np.stack([x] * channels, 1), RATE, subtype, format=kind)
                    found.append((kind, buffer.getvalue()))
                except (soundfile.SoundFileError, ValueError):  # not in this container, or not by two
                    continue
    return tuple(found)


def damaged(number: int) -> tuple[str, bytes]:
    """(container, bytes) of a damaged file: the same number gives the same bytes."""
    rng = np.random.default_rng([14, number])
    kind, data = seeds()[number % len(seeds())]
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(len(out) * rng.random() ** 4)  # mostly in the header
        action = rng.integers(8)
        if action < 3:  # a field of 1, 2, 4 or 8 bytes is anything, or extreme
            size = int(rng.choice((1, 2, 4, 8)))
            extreme = EXTREMES[rng.integers(len(EXTREMES))] * size
            out[at : at + size] = rng.bytes(size) if rng.random() < 0.5 else extreme
        elif action == 3:
            out[at : at + 1] = bytes([out[at] ^ 1 << rng.integers(8)]) if at < len(out) else b""
        elif action == 4:
            del out[int(len(out) * rng.random()) :]
        elif action == 5:
            del out[at : at + int(rng.integers(1, 16))]
        elif action == 6:
            out[at:at] = rng.bytes(int(rng.integers(1, 16)))
        else:
            out += bytes(out) if rng.random() < 0.5 else seeds()[rng.integers(len(seeds()))][1]
    return kind, bytes(out)
