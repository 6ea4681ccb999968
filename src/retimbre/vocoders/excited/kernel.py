"""The loop over samples of a WaveNet with an excitation, compiled by numba for ``generation.py``."""

import numpy as np
from numba import njit

from retimbre.nn.generation.numba_kernel import COMPILE, HELPER, advance, component_of, scratch
from retimbre.nn.wavenet.mixture import LEAST_LOG_SCALE
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
    k, u = component_of(p, mixtures, total, uniform)
    value = parameters[mixtures + k] + np.exp(parameters[2 * mixtures + k]) * (np.log(u) - np.log1p(-u))
    return mean + temperature * (value - mean)


@njit(**COMPILE)
def run_excited(
    feedback_weight, skip_bias, gate, output, output_bias, hidden, hidden_bias, head, head_bias, dilations,
    offsets, residual_scale, ring, heard, position, conditioning, first_segment, hold_length, inputs, skips,
    excitation, level, uniforms, temperature, forced, residuals,
):  # fmt: skip
    """Write n ``residuals`` of one stream.

    ``ring`` (1, rows, R) and ``heard`` (2,), what is told of the last sample, are updated. ``conditioning``
    (1, M, L, 2 R) begins at ``first_segment``; ``inputs`` (n, R) and ``skips`` (n, S) are what the
    excitation adds; ``excitation``, ``level`` and ``uniforms`` (n,). ``forced`` (n,) or (0,): residuals
    that are heard instead of those drawn.
    """
    R, S, K = gate.shape[2] // 2, skip_bias.shape[0], head_bias.shape[0] // 3
    x, h, g, y, skip, hid, z = scratch(1, gate, skip_bias, head_bias)
    p = np.empty(K, np.float32)
    for i in range(len(residuals)):
        t = position + i
        for j in range(R):
            y[0, j] = inputs[i, j] + heard[0] * feedback_weight[0, j] + heard[1] * feedback_weight[1, j]
        for j in range(S):
            y[0, R + j] = skip_bias[j] + skips[i, j]
        advance(
            t, t // hold_length - first_segment, conditioning, ring, gate, output, output_bias, hidden,
            hidden_bias, head, head_bias, dilations, offsets, residual_scale, x, h, g, y, skip, hid, z,
        )  # fmt: skip
        near = np.log(level[i])
        for k in range(K):
            log_scale = max(min(max(z[0, 2 * K + k], LEAST), MOST) + near, LEAST_SCALE)
            z[0, K + k] *= np.exp(log_scale)
            z[0, 2 * K + k] = log_scale
        residual = _residual(z[0], K, temperature, uniforms[i], p)
        residuals[i] = residual
        told = forced[i] if len(forced) else temperature * residual
        heard[0] = _compand(excitation[i] + told)
        heard[1] = np.arcsinh(np.float32(2) * told / level[i])
