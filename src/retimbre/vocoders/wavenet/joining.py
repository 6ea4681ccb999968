"""Joining of two draws of the same sound: where they are most alike, by a short cross-fade.

It keeps the power, because two draws of the same sound differ in phase.
"""

import math

import numpy as np

from retimbre.nn.wavenet.options import CONTEXT_FRAMES, WaveNetConfig

FADE = 128  # samples of a join (8 ms at 16 kHz)
SEARCH = 1024  # samples among which the place of a join is chosen


def warm_up_frames(config: WaveNetConfig) -> int:
    """Frames after which a draw from silence is as good as any: a receptive field on good conditioning."""
    return CONTEXT_FRAMES + 1 + math.ceil(config.receptive_field() / config.hop_length)


def crossing(a: np.ndarray, b: np.ndarray) -> tuple[int, np.ndarray]:
    """Place where two versions of the same audio (n,), n >= FADE, are most alike, and the join there.

    Returns its first sample and the FADE samples from there on in which ``a`` becomes ``b``.
    """
    difference = np.concatenate([[0], np.cumsum((a - b).astype(np.float64) ** 2)])
    at = int(np.argmin(difference[FADE:] - difference[:-FADE]))  # start of the most alike window
    a, b = a[at : at + FADE], b[at : at + FADE]
    w = 0.5 - 0.5 * np.cos(np.pi * (np.arange(FADE) + 0.5) / FADE)
    likeness = np.clip((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-12), 0, 1)
    power = (1 - w) ** 2 + w**2 + 2 * w * (1 - w) * likeness
    return at, ((1 - w) * a + w * b) / np.sqrt(power)  # unlike signals would lose 3 dB
