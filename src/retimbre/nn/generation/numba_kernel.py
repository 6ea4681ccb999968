"""The generation loop compiled by numba: no build tool, one compilation per machine (cached on disk).

Compiled functions are cached beside this file, or in NUMBA_CACHE_DIR when that is set. What a network with
an excitation (``vocoders.excited``) has in common with a plain one is here too: ``component_of`` and
``advance``.
"""

import numpy as np
from numba import njit

from retimbre.nn.generation.job import Job
from retimbre.nn.generation.weights import PackedWeights
from retimbre.nn.wavenet.mixture import LEAST_LOG_SCALE, LEAST_UNIFORM

# Every helper is inlined: fastmath leaves the order of sums to the compiler, which compiles a called
# function for itself and again with its caller. The process that compiles would run one of the two, those
# that load the cache the other, and draws would differ.
COMPILE = {"cache": True, "fastmath": True, "nogil": True, "error_model": "numpy"}
HELPER = COMPILE | {"inline": "always"}


@njit(**HELPER)
def _tanh(x):
    """Rational approximation (Eigen's), to a few units in the last place; unlike tanh LLVM vectorises it."""
    x = min(max(x, np.float32(-7.905311)), np.float32(7.905311))
    q = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * q + np.float32(2.00018790482477e-13)
    p = p * q + np.float32(-8.60467152213735e-11)
    p = p * q + np.float32(5.12229709037114e-08)
    p = p * q + np.float32(1.48572235717979e-05)
    p = p * q + np.float32(6.37261928875436e-04)
    p = p * q + np.float32(4.89352455891786e-03)
    d = np.float32(1.19825839466702e-06)
    d = d * q + np.float32(1.18534705686654e-04)
    d = d * q + np.float32(2.26843463243900e-03)
    d = d * q + np.float32(4.89352518554385e-03)
    return x * p / d


@njit(**HELPER)
def _add_product(y, x, w, start):
    """y[s, j] += sum_k x[s, k] w[k, j] for columns j >= start.

    Eight rows of w at a time: y is loaded and stored an eighth as often, and the rows stay in L1 for all
    streams.
    """
    for k in range(0, w.shape[0], 8):
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        w4, w5, w6, w7 = w[k + 4], w[k + 5], w[k + 6], w[k + 7]
        for s in range(y.shape[0]):
            x0, x1, x2, x3 = x[s, k], x[s, k + 1], x[s, k + 2], x[s, k + 3]
            x4, x5, x6, x7 = x[s, k + 4], x[s, k + 5], x[s, k + 6], x[s, k + 7]
            row = y[s]
            for j in range(start, w.shape[1]):
                row[j] += (
                    (x0 * w0[j] + x1 * w1[j])
                    + (x2 * w2[j] + x3 * w3[j])
                    + ((x4 * w4[j] + x5 * w5[j]) + (x6 * w6[j] + x7 * w7[j]))
                )


@njit(**HELPER)
def pick(logits, inverse_temperature, uniform, p):
    """Inverse-CDF sampling: the code whose cumulative probability first exceeds ``uniform``."""
    top = logits[0]
    for j in range(1, logits.shape[0]):
        top = max(top, logits[j])
    total = np.float32(0)
    for j in range(logits.shape[0]):
        p[j] = np.exp((logits[j] - top) * inverse_temperature)
        total += p[j]
    limit = uniform * total
    below = np.float32(0)
    for j in range(logits.shape[0] - 1):
        below += p[j]
        if limit < below:
            return j
    return logits.shape[0] - 1


@njit(**HELPER)
def component_of(p, mixtures, total, uniform):
    """Logistic that a uniform falls to, with weights ``p`` of sum ``total``, and where in its share, 0..1."""
    limit = uniform * total
    below, k = np.float32(0), 0
    while k < mixtures - 1 and below + p[k] <= limit:
        below += p[k]
        k += 1
    return k, min(max((limit - below) / p[k], np.float32(LEAST_UNIFORM)), np.float32(1 - LEAST_UNIFORM))


@njit(**HELPER)
def _draw_mixture(parameters, mixtures, inverse_temperature, uniform, p):
    """A code 0..65535 from a mixture of logistics: ``mixture.draw`` for one stream."""
    top = parameters[0]
    for k in range(1, mixtures):
        top = max(top, parameters[k])
    total = np.float32(0)
    for k in range(mixtures):
        p[k] = np.exp((parameters[k] - top) * inverse_temperature)
        total += p[k]
    k, u = component_of(p, mixtures, total, uniform)
    scale = np.exp(max(parameters[2 * mixtures + k], np.float32(LEAST_LOG_SCALE))) / inverse_temperature
    value = parameters[mixtures + k] + scale * (np.log(u) - np.log1p(-u))
    code = np.rint(value * np.float32(32768)) + np.float32(32768)
    return int(min(max(code, np.float32(0)), np.float32(65535)))


@njit(**HELPER)
def scratch(B, gate, skip_bias, head_bias):
    """Buffers of ``advance``: x, h, g, y, skip, hid, z."""
    L, KR, GR = gate.shape
    R, S = GR // 2, skip_bias.shape[0]
    return (
        np.empty((B, KR), np.float32),  # [past taps | current] of a layer
        np.empty((B, GR), np.float32),
        np.empty((B, R), np.float32),
        np.empty((B, R + S), np.float32),  # [residual stream | skip sum]
        np.empty((B, S), np.float32),
        np.empty((B, S), np.float32),
        np.empty((B, head_bias.shape[0]), np.float32),
    )


@njit(**HELPER)
def advance(
    t, segment, conditioning, ring, gate, output, output_bias, hidden, hidden_bias, head, head_bias,
    dilations, offsets, residual_scale, x, h, g, y, skip, hid, z,
):  # fmt: skip
    """Layers and head of sample ``t``: ``y``, first layer's input and skip bias at first, to ``z``."""
    L, KR, GR = gate.shape
    R, B = GR // 2, y.shape[0]
    S, taps = y.shape[1] - R, KR // R - 1
    half, zero = np.float32(0.5), np.float32(0)
    for layer in range(L):
        rows = taps * dilations[layer]
        for b in range(B):
            for k in range(taps):
                past = offsets[layer] + ((t - (taps - k) * dilations[layer]) & (rows - 1))
                x[b, k * R : (k + 1) * R] = ring[b, past]
            x[b, taps * R :] = y[b, :R]
            ring[b, offsets[layer] + (t & (rows - 1))] = y[b, :R]
            h[b] = conditioning[b, segment, layer]
        _add_product(h, x, gate[layer], 0)
        for b in range(B):
            for j in range(R):
                g[b, j] = _tanh(h[b, j]) * (half + half * _tanh(half * h[b, R + j]))
            for j in range(R):
                y[b, j] = y[b, j] * residual_scale + output_bias[layer, j]
        _add_product(y, g, output[layer], R if layer == L - 1 else 0)
    for b in range(B):
        for j in range(S):
            skip[b, j] = max(y[b, R + j], zero)
        hid[b] = hidden_bias
        z[b] = head_bias
    _add_product(hid, skip, hidden, 0)
    for b in range(B):
        for j in range(S):
            hid[b, j] = max(hid[b, j], zero)
    _add_product(z, hid, head, 0)


@njit(**COMPILE)
def _run(
    embedding, skip_bias, gate, output, output_bias, hidden, hidden_bias, head, head_bias, dilations,
    offsets, residual_scale, mixtures, ring, code, position, conditioning, first_segment, hold_length,
    uniforms, inverse_temperature, forced, codes, logits,
):  # fmt: skip
    """Advance a few streams together by n samples; shapes as in ``Job``."""
    R, (B, n) = gate.shape[2] // 2, codes.shape
    x, h, g, y, skip, hid, z = scratch(B, gate, skip_bias, head_bias)
    p = np.empty(head_bias.shape[0], np.float32)
    for i in range(n):
        t = position + i
        for b in range(B):
            y[b, :R] = embedding[code[b]]
            y[b, R:] = skip_bias
        advance(
            t, t // hold_length - first_segment, conditioning, ring, gate, output, output_bias, hidden,
            hidden_bias, head, head_bias, dilations, offsets, residual_scale, x, h, g, y, skip, hid, z,
        )  # fmt: skip
        for b in range(B):
            if mixtures:
                drawn = _draw_mixture(z[b], mixtures, inverse_temperature, uniforms[b, i], p)
            else:
                drawn = pick(z[b], inverse_temperature, uniforms[b, i], p)
            codes[b, i] = drawn
            code[b] = forced[b, i] if forced.shape[1] else drawn
            if logits.shape[1]:
                logits[b, i] = z[b]


def layers_and_head(packed: PackedWeights) -> tuple:
    """A network's arrays in the order in which the kernels take them."""
    p = packed
    matrices = (p.gate, p.output, p.output_bias, p.hidden, p.hidden_bias, p.head, p.head_bias)
    return (*(m.numpy() for m in matrices), p.dilations, p.offsets, np.float32(p.residual_scale))


def run_job(job: Job) -> None:
    """Advance all streams, in place."""
    p = job.packed
    _run(
        p.embedding.numpy(), p.skip_bias.numpy(), *layers_and_head(p), p.mixtures, job.ring, job.code,
        job.position, job.conditioning, job.first_segment, job.hold_length, job.uniforms,
        np.float32(job.inverse_temperature), job.forced, job.codes, job.logits,
    )  # fmt: skip
