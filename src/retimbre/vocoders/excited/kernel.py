"""The loop over samples of a WaveNet with an excitation, compiled by numba (``excited.py`` is the way in)."""

import numpy as np
from numba import njit

from retimbre.nn.generation.numba_kernel import COMPILE, HELPER, _add_product, _tanh
from retimbre.nn.wavenet.mixture import LEAST_LOG_SCALE, LEAST_UNIFORM
from retimbre.nn.wavenet.options import CODES
from retimbre.vocoders.excited.network import RELATIVE_SCALES

LEAST, MOST = (np.float32(x) for x in RELATIVE_SCALES)
LEAST_SCALE = np.float32(LEAST_LOG_SCALE)
LOG_CODES = np.float32(np.log(CODES))


@njit(**HELPER)
def _compand(x):
    y = np.log1p(abs(x) * np.float32(CODES - 1)) / LOG_CODES
    return y if x >= 0 else -y


@njit(**HELPER)
def _residual(parameters, mixtures, temperature, uniform, p):
    """Mean of a mixture of logistics, and ``temperature`` times the way from there to a draw."""
    top = parameters[0]
    for k in range(1, mixtures):
        top = max(top, parameters[k])
    total = np.float32(0)
    for k in range(mixtures):
        p[k] = np.exp(parameters[k] - top)
        total += p[k]
    mean = np.float32(0)
    for k in range(mixtures):
        mean += p[k] / total * parameters[mixtures + k]
    if temperature == 0:
        return mean
    limit = uniform * total
    below, component = np.float32(0), 0
    while component < mixtures - 1 and below + p[component] <= limit:
        below += p[component]
        component += 1
    u = min(max((limit - below) / p[component], np.float32(LEAST_UNIFORM)), np.float32(1 - LEAST_UNIFORM))
    value = parameters[mixtures + component] + np.exp(parameters[2 * mixtures + component]) * (np.log(u) - np.log1p(-u))
    return mean + temperature * (value - mean)


@njit(**COMPILE)
def run_excited(
    feedback_weight, gate, output, output_bias, skip_bias, hidden, hidden_bias, head, head_bias, dilations, offsets, residual_scale,
    ring, heard, position, conditioning, first_segment, hold_length, inputs, skips, excitation, level, uniforms, temperature, forced,
    residuals, parameters,
):  # fmt: skip
    """Advance one stream by n samples; shapes as in ``excited.Job``.

    ``ring`` (1, rows, R) and ``heard`` (2,), what is told of the last sample, are updated. ``forced`` (n,) or (0,): residuals that
    are heard instead of those drawn. ``parameters`` (n, 3 K) or (0, 3 K): written, as the forward gives them.
    """
    L, KR, GR = gate.shape
    R, S = GR // 2, skip_bias.shape[0]
    taps = KR // R - 1
    K = head_bias.shape[0] // 3
    x = np.empty((1, KR), np.float32)  # [past taps | current] of a layer
    h = np.empty((1, GR), np.float32)
    g = np.empty((1, R), np.float32)
    y = np.empty((1, R + S), np.float32)  # [residual stream | skip sum]
    skip = np.empty((1, S), np.float32)
    hid = np.empty((1, S), np.float32)
    z = np.empty((1, 3 * K), np.float32)
    p = np.empty(K, np.float32)
    half, zero = np.float32(0.5), np.float32(0)
    for i in range(len(residuals)):
        t = position + i
        segment = t // hold_length - first_segment
        for j in range(R):
            y[0, j] = inputs[i, j] + heard[0] * feedback_weight[0, j] + heard[1] * feedback_weight[1, j]
        for j in range(S):
            y[0, R + j] = skip_bias[j] + skips[i, j]
        for layer in range(L):
            rows = taps * dilations[layer]
            for k in range(taps):
                past = offsets[layer] + ((t - (taps - k) * dilations[layer]) & (rows - 1))
                x[0, k * R : (k + 1) * R] = ring[0, past]
            x[0, taps * R :] = y[0, :R]
            ring[0, offsets[layer] + (t & (rows - 1))] = y[0, :R]
            h[0] = conditioning[segment, layer]
            _add_product(h, x, gate[layer], 0)
            for j in range(R):
                g[0, j] = _tanh(h[0, j]) * (half + half * _tanh(half * h[0, R + j]))
            for j in range(R):
                y[0, j] = y[0, j] * residual_scale + output_bias[layer, j]
            _add_product(y, g, output[layer], R if layer == L - 1 else 0)
        for j in range(S):
            skip[0, j] = max(y[0, R + j], zero)
        hid[0] = hidden_bias
        z[0] = head_bias
        _add_product(hid, skip, hidden, 0)
        for j in range(S):
            hid[0, j] = max(hid[0, j], zero)
        _add_product(z, hid, head, 0)
        near = np.log(level[i])
        for k in range(K):
            log_scale = max(min(max(z[0, 2 * K + k], LEAST), MOST) + near, LEAST_SCALE)
            z[0, K + k] *= np.exp(log_scale)
            z[0, 2 * K + k] = log_scale
        residual = _residual(z[0], K, temperature, uniforms[i], p)
        residuals[i] = residual
        if len(parameters):
            parameters[i] = z[0]
        told = forced[i] if len(forced) else temperature * residual
        heard[0] = _compand(excitation[i] + told)
        heard[1] = np.arcsinh(np.float32(2) * told / level[i])
