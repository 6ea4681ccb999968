"""The audio of a listening test: clips of one length, loudness and format; the quality anchor; tones of the headphone check.

Loudness is integrated loudness of ITU-R BS.1770-4. Within an item all clips have the same length, and when one would peak
above the limit, all of its clips are made quieter together, so that level never tells them apart.
"""

from collections.abc import Mapping

import numpy as np
from scipy.signal import butter, sosfiltfilt

from retimbre.audio.loudness import LoudnessMeter
from retimbre.errors import RetimbreError

SHORTEST_S = 4.0
AUDIBLE_DB = -40.0  # below the loudest 20 ms: where a clip is taken to begin
LEAD_S = 0.1  # kept before it
ANCHOR_HZ, ANCHOR_SNR_DB = 3500.0, 20.0
TONE_HZ, TONE_S, GAP_S, QUIETER_DB = 200.0, 1.0, 0.5, 6.0  # Woods et al. (2017)


def loudness_lufs(x: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of mono audio (N,) in LUFS; -inf for silence."""
    meter = LoudnessMeter(sample_rate)
    meter.update(x)
    return meter.lufs()


def onset(x: np.ndarray, sample_rate: int) -> int:
    """The sample at which audio (N,) becomes audible, a little before it; 0 for silence."""
    step = max(1, round(0.02 * sample_rate))
    frames = x[: len(x) // step * step].reshape(-1, step)
    level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)) if len(frames) else np.zeros(0)
    if not len(level) or level.max() == 0:
        return 0
    first = int(np.argmax(level >= level.max() * 10 ** (AUDIBLE_DB / 20)))
    return max(0, first * step - round(LEAD_S * sample_rate))


def fade(x: np.ndarray, sample_rate: int, fade_ms: float) -> np.ndarray:
    """Audio (N,) with raised-cosine fades at both ends."""
    n = min(round(fade_ms / 1000 * sample_rate), len(x) // 2)
    if n == 0:
        return x.copy()
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)
    y = np.array(x, np.float64)
    y[:n] *= ramp
    y[-n:] *= ramp[::-1]
    return y


def prepare(
    recordings: Mapping[str, np.ndarray],
    sample_rate: int,
    clip_s: float,
    loudness: float,
    peak_dbfs: float,
    fade_ms: float,
    together: tuple[str, ...] = (),
    item: str = "item",
) -> dict[str, np.ndarray]:
    """Clips (N,) float64 of one item: equal length, equal loudness, faded, below the peak.

    ``together``: names that are aligned with the first of them (same music at the same time) and therefore begin at the same
    sample; the others begin where they become audible. Silent recordings stay silent. Raises RetimbreError when less than 4 s are left.
    """
    starts = {name: onset(x, sample_rate) for name, x in recordings.items()}
    aligned = [name for name in together if name in recordings]
    starts |= {name: starts[aligned[0]] for name in aligned}
    shortest = min(recordings, key=lambda name: len(recordings[name]) - starts[name])
    length = min(round(clip_s * sample_rate), len(recordings[shortest]) - starts[shortest])
    if length < SHORTEST_S * sample_rate:
        # Fewer seconds after the onset than a clip needs: take what is before it too.
        starts = dict.fromkeys(starts, 0)
        length = min(round(clip_s * sample_rate), min(len(x) for x in recordings.values()))
    if length < SHORTEST_S * sample_rate:
        raise RetimbreError(
            f"{shortest} of {item} lasts {length / sample_rate:.1f} s and a clip needs {SHORTEST_S:g} s: raise dataset.excerpt_s and run "
            "`dvc repro evaluate`."
        )
    cut = {name: fade(x[starts[name] : starts[name] + length], sample_rate, fade_ms) for name, x in recordings.items()}
    levelled = {}
    for name, x in cut.items():
        lufs = loudness_lufs(x, sample_rate)
        levelled[name] = x * 10 ** ((loudness - lufs) / 20) if np.isfinite(lufs) else x
    limit = 10 ** (peak_dbfs / 20)
    peak = max(float(np.abs(x).max()) for x in levelled.values())
    gain = min(1.0, 0.999 * limit / peak) if peak > 0 else 1.0  # rounding to 16 bit must not step over the limit
    return {name: gain * x for name, x in levelled.items()}


def anchor(x: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
    """A bad version of a recording (N,): low-passed at 3.5 kHz, with white noise 20 dB below it."""
    edge = min(ANCHOR_HZ, 0.45 * sample_rate)
    low = sosfiltfilt(butter(8, edge, fs=sample_rate, output="sos"), x)
    rms = np.sqrt(np.mean(np.square(low)))
    return low + np.random.default_rng(seed).normal(0, rms * 10 ** (-ANCHOR_SNR_DB / 20), len(x))


def headphone_tones(sample_rate: int, quiet: int, antiphase: int, peak: float = 0.25) -> np.ndarray:
    """Three tones in stereo, (N, 2): number ``quiet`` is 6 dB softer, number ``antiphase`` has opposite signs in the two channels.

    Over loudspeakers the antiphase tone cancels in the air and is heard as the quietest; over headphones it does not.
    """
    n = round(TONE_S * sample_rate)
    tone = fade(np.sin(2 * np.pi * TONE_HZ * np.arange(n) / sample_rate), sample_rate, 100.0) * peak
    gap = np.zeros((round(GAP_S * sample_rate), 2))
    parts = []
    for number in range(3):
        one = tone * (10 ** (-QUIETER_DB / 20) if number == quiet else 1.0)
        parts += [np.stack([one, -one if number == antiphase else one], axis=1), gap]
    return np.concatenate(parts[:-1])
