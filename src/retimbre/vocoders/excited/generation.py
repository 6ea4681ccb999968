"""Residuals of a WaveNet with an excitation: drawn one by one with cached states, or expected, all at once.

``temperature`` t says how far a sample goes from the expected one to a drawn one: e + mean + t (draw -
mean). The network hears its own past as e + t residual. 1 is ancestral sampling. At 0 it hears the
excitation alone, nothing is fed back, and all samples are computed side by side.
"""

import math

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.generation.numba_kernel import layers_and_head
from retimbre.nn.generation.weights import pack
from retimbre.vocoders.excited.kernel import run_excited
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, feedback, mean

BLOCK_FRAMES = 64  # what does not depend on the samples is computed for this many frames at a time


class State:
    """State of one signal's generation between chunks; ``seed`` None draws from the system's entropy."""

    def __init__(self, model: ExcitedWaveNet, seed: int | None = None):
        self.packed = pack(model)
        R = self.packed.residual_channels
        rows = model.amplitude.weight.detach().to("cpu", torch.float32).T  # of the feedback, 2, R
        self.feedback = np.ascontiguousarray(nnf.pad(rows, (0, R - rows.shape[1])))
        self.ring = np.zeros((1, self.packed.ring_rows, R), np.float32)
        self.residual = 0.0  # that the network heard last
        self.position = 0
        self.random = np.random.default_rng(seed)


def padded(excitation: np.ndarray) -> Tensor:
    """A whole signal (N,) with the silence that the network expects beyond both ends: (1, N + 2 MARGIN)."""
    return nnf.pad(torch.from_numpy(np.ascontiguousarray(excitation, np.float32))[None], (MARGIN, MARGIN))


@torch.no_grad()
def expected(model: ExcitedWaveNet, features: Tensor, domain: int, excitation: np.ndarray) -> np.ndarray:
    """Expected residuals (N,) for features (F, T) in dB and an excitation (N,).

    They are what ``generate`` gives at temperature 0.
    """
    device, c, N = model.feature_mean_db.device, model.config, len(excitation)
    wide, index = padded(excitation).to(device), torch.tensor([domain], device=device)
    features = features[None].to(device)
    block = BLOCK_FRAMES * c.hop_length
    warm_up = math.ceil(c.receptive_field() / c.hold_length) * c.hold_length
    made = []
    for start in range(0, N, block):
        stop, first = min(start + block, N), max(start - warm_up, 0)
        silence = torch.zeros(1, stop - first, device=device)
        parameters = model(silence, wide[:, first : stop + 2 * MARGIN], features, index, first)
        made.append(mean(parameters)[0, start - first :])
    return torch.cat(made).cpu().numpy()


@torch.no_grad()
def generate(
    model: ExcitedWaveNet,
    features: Tensor,
    domain: int,
    excitation: np.ndarray,
    temperature: float = 1.0,
    length: int | None = None,
    uniforms: np.ndarray | None = None,
    seed: int | None = None,
    state: State | None = None,
    forced: np.ndarray | None = None,
) -> np.ndarray:
    """Residuals (length,), sample by sample, float32.

    ``features`` (F, T) in dB and ``excitation`` (N,) are those of the whole signal from sample 0. With
    ``state`` the generation goes on where that stands; ``length`` None goes to the end. ``uniforms``
    (length,) fix the draws. ``forced`` (length,): residuals that are heard instead of one's own. Chunks of
    any sizes give the same as one call. Raises RetimbreError for what cannot work.
    """
    c, device = model.config, model.feature_mean_db.device
    state = State(model, seed) if state is None else state
    N = len(excitation)
    length = N - state.position if length is None else length
    if length < 1 or state.position + length > N:
        wanted = f"{state.position} to {state.position + length}"
        raise RetimbreError(f"an excitation of {N} samples has none from {wanted}.")
    if not temperature >= 0:
        raise RetimbreError(f"the temperature of the sampling must be at least 0, not {temperature}.")
    wide, index = padded(excitation).to(device), torch.tensor([domain], device=device)
    features, p = features[None].to(device), state.packed
    residuals = np.empty(length, np.float32)
    block, done = BLOCK_FRAMES * c.hop_length, 0
    while done < length:
        start = state.position
        stop = min((start // block + 1) * block, start + length - done)
        now = slice(done, done + stop - start)
        inputs, skips, level = model.excite(wide[:, start : stop + 2 * MARGIN])
        last = wide[:, start + MARGIN - 1 : start + MARGIN]
        heard = feedback(torch.full_like(last, state.residual), last, level[:, :1])[0, 0]
        first_segment = start // c.hold_length
        h = model.segments(features, index, first_segment, math.ceil(stop / c.hold_length)).cpu().float()
        gates = torch.addmm(p.projection_bias, h[0], p.projection)
        drawn = state.random.random(stop - start, dtype=np.float32) if uniforms is None else uniforms[now]
        run_excited(
            state.feedback,
            p.skip_bias.numpy(),
            *layers_and_head(p),
            state.ring,
            heard.cpu().numpy(),
            start,
            gates.view(1, -1, p.layers, 2 * p.residual_channels).numpy(),
            first_segment,
            c.hold_length,
            _columns(inputs, p.residual_channels),
            _columns(skips * model.skip_scale, p.skip_bias.shape[0]),
            wide[0, start + MARGIN : stop + MARGIN].cpu().numpy(),
            np.ascontiguousarray(level[0, 1:].cpu().numpy()),
            np.ascontiguousarray(drawn, np.float32),
            np.float32(temperature),
            np.empty(0, np.float32) if forced is None else np.ascontiguousarray(forced[now], np.float32),
            residuals[now],
        )
        state.residual = float(forced[now][-1] if forced is not None else temperature * residuals[now][-1])
        state.position, done = stop, now.stop
    return residuals


def _columns(x: Tensor, channels: int) -> np.ndarray:
    """(1, n, C) -> (n, channels), zeros in the columns that the kernels pad with."""
    return np.ascontiguousarray(nnf.pad(x[0], (0, channels - x.shape[-1])).cpu().float().numpy())
