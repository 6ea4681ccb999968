"""Audio of a listening test: clips of one length, loudness and format; the anchor; the headphone check.

Loudness is integrated loudness of ITU-R BS.1770-4. Within an item all clips have the same length, and when
one would peak above the limit, all of its clips are made quieter together, so that level never tells them
apart.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.signal import butter, sosfiltfilt

from retimbre.audio.levels import rms
from retimbre.audio.matching import equally_loud
from retimbre.errors import RetimbreError
from retimbre.listening.params import SHORTEST_S, Listening

AUDIBLE_DB = -40.0  # below the loudest 20 ms: where a clip is taken to begin
LEAD_S = 0.1  # kept before it
ANCHOR_HZ, ANCHOR_SNR_DB = 3500.0, 20.0
TONE_HZ, TONE_S, GAP_S, QUIETER_DB = 200.0, 1.0, 0.5, 6.0  # Woods et al. (2017)
TONE_PEAK = 0.25


def onset(x: np.ndarray, sample_rate: int) -> int:
    """Sample at which audio (N,) becomes audible, a little before it; 0 for silence."""
    step = max(1, round(0.02 * sample_rate))
    frames = x[: len(x) // step * step].reshape(-1, step)
    level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    if not level.any():
        return 0
    first = int(np.argmax(level >= level.max() * 10 ** (AUDIBLE_DB / 20)))
    return max(0, first * step - round(LEAD_S * sample_rate))


def fade(x: np.ndarray, sample_rate: int, fade_ms: float) -> np.ndarray:
    """Audio (N,) with raised-cosine fades at both ends."""
    n = min(round(fade_ms / 1000 * sample_rate), len(x) // 2)
    ramp = np.ones(len(x))
    ramp[:n] = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / max(n, 1))
    return x * ramp * ramp[::-1]


def prepare(
    recordings: Mapping[str, np.ndarray],
    sample_rate: int,
    params: Listening,
    together: Sequence[str],
    item: str,
) -> dict[str, np.ndarray]:
    """Clips (N,) float64 of one item: equal length, equal loudness, faded, below the peak.

    ``together``: names that are aligned with the first of them (same music at the same time) and therefore
    begin at the same sample; the others begin where they become audible. Silent recordings stay silent.
    Raises RetimbreError when less than 4 s are left, of notes less than a clip.
    """
    needed = min(SHORTEST_S, params.clip_s)
    starts = {name: onset(x, sample_rate) for name, x in recordings.items()}
    starts |= {name: starts[together[0]] for name in together}

    def seconds_left() -> tuple[float, str]:
        return min(((len(x) - starts[name]) / sample_rate, name) for name, x in recordings.items())

    if seconds_left()[0] < needed:  # after the onset: take what is before it too
        starts = dict.fromkeys(starts, 0)
    seconds, shortest = seconds_left()
    if seconds < needed:
        raise RetimbreError(
            f"{shortest} of {item} lasts {seconds:.1f} s and a clip needs {needed:g} s: raise "
            "dataset.excerpt_s and run `dvc repro evaluate`, or lower listening.clip_s for notes."
        )
    length = round(min(params.clip_s, seconds) * sample_rate)
    cuts = {
        name: fade(x[starts[name] : starts[name] + length].astype(np.float64), sample_rate, params.fade_ms)
        for name, x in recordings.items()
    }
    limit = 0.999 * 10 ** (params.peak_dbfs / 20)  # rounding to 16 bit must not step over it
    return equally_loud(cuts, sample_rate, params.loudness_lufs, limit)


def anchor(x: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
    """Bad version of a recording (N,): low-passed at 3.5 kHz, with white noise 20 dB below it."""
    edge = min(ANCHOR_HZ, 0.45 * sample_rate)
    low = sosfiltfilt(butter(8, edge, fs=sample_rate, output="sos"), x)
    return low + np.random.default_rng(seed).normal(0, rms(low) * 10 ** (-ANCHOR_SNR_DB / 20), len(x))


def headphone_tones(sample_rate: int, quiet: int, antiphase: int) -> np.ndarray:
    """Three tones in stereo, (N, 2): ``quiet`` is 6 dB softer, ``antiphase`` of opposite signs.

    Over loudspeakers the antiphase tone cancels in the air and is the quietest; over headphones it does not.
    """
    n = round(TONE_S * sample_rate)
    tone = fade(np.sin(2 * np.pi * TONE_HZ * np.arange(n) / sample_rate), sample_rate, 100.0) * TONE_PEAK
    gap = np.zeros((round(GAP_S * sample_rate), 2))
    parts = []
    for number in range(3):
        one = tone * (10 ** (-QUIETER_DB / 20) if number == quiet else 1.0)
        parts += [np.stack([one, -one if number == antiphase else one], axis=1), gap]
    return np.concatenate(parts[:-1])
