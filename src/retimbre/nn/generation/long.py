"""A long file as one batch: overlapping chunks are generated side by side and joined.

Every chunk after the first starts early, from silence, and is listened to only once its receptive field is full of its own
samples. Two chunks draw with the same uniforms where they overlap, so they tend to agree; they are joined where they are most
alike, by a short cross-fade that keeps the power, because two draws of the same sound differ in phase.
"""

import math

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.companding import mu_law_decode, mu_law_encode, pcm_decode, pcm_encode
from retimbre.nn.generation.sampler import generate
from retimbre.nn.wavenet.network import CONTEXT_FRAMES, WaveNet, WaveNetConfig

FADE = 128  # samples of a join (8 ms at 16 kHz)
SEARCH = 1024  # samples among which the place of a join is chosen
EDGE_FRAMES = CONTEXT_FRAMES + 1  # at a cut, the conditioning of this many frames lacks its neighbours
LEAST_SHARE = 3  # a chunk is at least this many times as long as what is thrown away for it


def generate_long(
    model: WaveNet,
    features: Tensor | np.ndarray,
    domain: int,
    length: int,
    temperature: float = 1.0,
    seed: int | None = None,
    route: str = "auto",
    threads: int = 1,
    streams: int = 8,
    weights: str = "float32",
) -> np.ndarray:
    """Draw codes (length,), as ``generate`` does, of one signal from features (F, T) in dB, in up to ``streams`` chunks at once.

    Worth it where a batch is faster per sample than one stream (several threads, the eager route, a GPU). Short signals take fewer
    chunks; one chunk is ``generate`` itself. Other parameters as in ``generate``; needs four bytes per sample for the uniforms.
    """
    hop = model.config.hop_length
    T = min(features.shape[-1], math.ceil(length / hop) + EDGE_FRAMES)
    starts, span = plan_chunks(model.config, T, streams)
    uniforms = np.random.default_rng(seed).random(max(T * hop, length), dtype=np.float32)
    if len(starts) == 1:
        alone = uniforms[None, :length]
        return generate(model, features[None], domain, length, temperature, alone, route=route, threads=threads, weights=weights)[0]
    features = torch.as_tensor(features)
    chunks = torch.stack([features[:, start : start + span] for start in starts])
    drawn = np.stack([uniforms[start * hop : (start + span) * hop] for start in starts])
    codes = generate(model, chunks, domain, span * hop, temperature, drawn, route=route, threads=threads, weights=weights)

    joined = codes[0]
    for start, later in zip(starts[1:], codes[1:], strict=True):
        first, stop = join_region(model.config, start, joined)
        joined = join(joined, later, start * hop, first, stop, model.config.output == "mol")
    return joined[:length]


def plan_chunks(config: WaveNetConfig, T: int, streams: int) -> tuple[list[int], int]:
    """Cut T frames into at most ``streams`` chunks of equal span: (first frame of each, span in frames)."""
    overlap = warm_up_frames(config) + math.ceil(SEARCH / config.hop_length) + EDGE_FRAMES + 1
    n = max(1, min(streams, T // ((1 + LEAST_SHARE) * overlap)))
    if n == 1:
        return [0], T
    span = math.ceil((T + (n - 1) * overlap) / n)
    return [i * (T - span) // (n - 1) for i in range(n)], span  # the last one ends with the signal


def warm_up_frames(config: WaveNetConfig) -> int:
    """Frames at the start of a chunk that are not listened to: a receptive field on good conditioning."""
    return EDGE_FRAMES + math.ceil(config.receptive_field() / config.hop_length)


def join_region(config: WaveNetConfig, start: int, earlier: np.ndarray) -> tuple[int, int]:
    """Samples in which both ``earlier`` (codes from sample 0) and the chunk from frame ``start`` are good."""
    return (start + warm_up_frames(config)) * config.hop_length, len(earlier) - EDGE_FRAMES * config.hop_length


def join(earlier: np.ndarray, later: np.ndarray, offset: int, first: int, stop: int, pcm: bool = False) -> np.ndarray:
    """Codes ``earlier`` (from sample 0) go over into ``later`` (from sample ``offset``) somewhere in samples first:stop.

    ``pcm``: 16-bit codes instead of mu-law.
    """
    encode, decode = (pcm_encode, pcm_decode) if pcm else (mu_law_encode, mu_law_decode)
    a, b = (decode(codes.astype(np.int64)) for codes in (earlier[first:stop], later[first - offset : stop - offset]))
    at, faded = crossing(a, b)
    cut = first + at
    return np.concatenate([earlier[:cut], encode(faded).astype(earlier.dtype), later[cut + FADE - offset :]])


def crossing(a: np.ndarray, b: np.ndarray) -> tuple[int, np.ndarray]:
    """Where two versions of the same audio (n,), n >= FADE, are most alike, and the FADE samples in which ``a`` becomes ``b`` there."""
    difference = np.concatenate([[0], np.cumsum((a - b).astype(np.float64) ** 2)])
    at = int(np.argmin(difference[FADE:] - difference[:-FADE]))  # start of the window with the least difference
    a, b = a[at : at + FADE], b[at : at + FADE]
    w = 0.5 - 0.5 * np.cos(np.pi * (np.arange(FADE) + 0.5) / FADE)
    likeness = np.clip((a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-12), 0, 1)
    return at, ((1 - w) * a + w * b) / np.sqrt((1 - w) ** 2 + w**2 + 2 * w * (1 - w) * likeness)  # unlike signals would lose 3 dB
