"""Sampling of a decoder on the CPU, one sample at a time with cached states, compiled by numba."""

import numpy as np
import torch
from numba import njit

from retimbre.errors import RetimbreError
from retimbre.nn.generation.numba_kernel import COMPILE, advance, layers_and_head, pick, scratch
from retimbre.nn.generation.weights import pack
from retimbre.nn.wavenet.options import CODES
from retimbre.nn.wavenet_autoencoder.decoder import Decoder


@njit(**COMPILE)
def _run(
    inputs, gate, output, output_bias, hidden, hidden_bias, head, head_bias, dilations, offsets,
    residual_scale, ring, past, position, gates, hiddens, hold_length, uniforms, inverse_temperature, forced,
    codes, logits,
):  # fmt: skip
    """Advance one stream by ``len(codes)`` samples.

    ``inputs`` (K + 1, R + S): what each past amplitude, and a constant, put into the first layer and the skip
    sum; ``past`` (K,) amplitudes, the newest last. ``gates`` (1, T, L, 2 R) and ``hiddens`` (T, S) are those
    of the whole signal.
    """
    K = len(past)
    x, h, g, y, skip, hid, z = scratch(1, gate, hidden_bias, head_bias)
    p = np.empty(len(head_bias), np.float32)
    for i in range(len(codes)):
        t = position + i
        for j in range(y.shape[1]):
            y[0, j] = inputs[K, j]
            for k in range(K):
                y[0, j] += past[k] * inputs[k, j]
        frame = t // hold_length
        advance(
            t, frame, gates, ring, gate, output, output_bias, hidden, hiddens[frame], head, head_bias,
            dilations, offsets, residual_scale, x, h, g, y, skip, hid, z,
        )  # fmt: skip
        drawn = pick(z[0], inverse_temperature, uniforms[i], p)
        codes[i] = drawn
        if len(logits):
            logits[i] = z[0]
        for k in range(K - 1):
            past[k] = past[k + 1]
        past[K - 1] = np.float32(forced[i] if len(forced) else drawn) * np.float32(2 / (CODES - 1)) - 1


class State:
    """One signal's generation between calls: a decoder's weights, its past, and where it stands."""

    @torch.no_grad()
    def __init__(self, model: Decoder, seed: int = 0):
        self.model, self.packed = model, pack(model)
        p, first = self.packed, model.input.weight[:, 0].T  # K, R
        inputs = torch.cat([first, model.input.bias[None]]).float().cpu()
        skips = inputs @ model.input_skip.weight.T.float().cpu()
        skips[-1] += model.input_skip.bias.cpu()
        wide = torch.zeros(len(inputs), p.residual_channels + len(p.skip_bias))
        wide[:, : inputs.shape[1]] = inputs
        wide[:, p.residual_channels :][:, : skips.shape[1]] = skips * model.skip_scale
        wide[-1, p.residual_channels :] += p.skip_bias
        self.inputs = wide.numpy()
        self.ring = np.zeros((1, p.ring_rows, p.residual_channels), np.float32)
        self.past = np.zeros(model.config.kernel, np.float32)
        self.past[-1] = model.config.silence * np.float32(2 / (CODES - 1)) - 1
        self.position = 0
        self.random = np.random.default_rng(seed)

    @torch.no_grad()
    def run(
        self,
        conditioning: torch.Tensor,
        length: int,
        temperature: float = 1.0,
        forced: np.ndarray | None = None,
        with_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The next ``length`` codes, uint8, and their logits (length, 256), or (0, 256) without.

        ``conditioning`` (T, H) is that of the whole signal from sample 0. ``forced`` (length,): codes that
        are heard instead of those drawn. Raises RetimbreError for what cannot work.
        """
        c, p = self.model.config, self.packed
        if not temperature > 0:
            raise RetimbreError(f"the temperature of the sampling must be greater than 0, not {temperature}.")
        covered = len(conditioning) * c.hop_length - self.position
        if not 0 < length <= covered:
            raise RetimbreError(f"the code covers 1 to {covered} more samples, not {length}.")
        held = conditioning.float().cpu()
        L, R, r = c.layers, c.residual_channels, p.residual_channels
        gates = torch.zeros(len(held), L, 2, r)
        gates[..., :R] = self.model.gate_bias.float().cpu().view(L, 2, R)
        gates = gates.view(len(held), -1) + torch.addmm(p.projection_bias, held, p.projection)
        hiddens = p.hidden_bias.repeat(len(held), 1)
        layer = self.model.conditioning_hidden
        hiddens[:, : c.skip_channels] += held @ layer.weight.T.float().cpu() + layer.bias.float().cpu()
        codes = np.empty(length, np.uint8)
        logits = np.empty((length if with_logits else 0, CODES), np.float32)
        uniforms = self.random.random(length, dtype=np.float32)
        forced = np.empty(0, np.int64) if forced is None else forced.astype(np.int64)
        _run(
            self.inputs, *layers_and_head(p), self.ring, self.past, self.position,
            gates.view(1, len(held), L, 2 * r).numpy(), hiddens.numpy(), c.hop_length, uniforms,
            np.float32(1 / temperature), forced, codes, logits,
        )  # fmt: skip
        self.position += length
        return codes, logits
