"""Residuals of a WaveNet with an excitation, sample by sample with cached states, or all at once where nothing is drawn.

``temperature`` t says how far a sample goes from the expected one to a drawn one: e + mean + t (draw - mean). The network hears its own
past as e + t residual. 1 is ancestral sampling. At 0 it hears the excitation alone, nothing is fed back, and all samples
are computed side by side.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.generation.weights import PackedWeights, pack
from retimbre.nn.wavenet import mixture
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet, feedback, locate, mean

BLOCK_FRAMES = 64  # what does not depend on the samples is computed for this many frames at a time
ROUTES = ("numba", "eager")


def pack_excited(model: ExcitedWaveNet) -> PackedWeights:
    """``weights.pack`` with the two rows of the feedback in the place of the embedding."""
    packed = pack(model)
    rows = model.amplitude.weight.detach().to("cpu", torch.float32).T  # 2, R
    return replace(packed, embedding=nnf.pad(rows, (0, packed.residual_channels - rows.shape[1])).contiguous())


class State:
    """What is carried from chunk to chunk of one signal; ``seed`` None draws from the system's entropy."""

    def __init__(self, model: ExcitedWaveNet, seed: int | None = None):
        self.packed = pack_excited(model)
        self.ring = np.zeros((1, self.packed.ring_rows, self.packed.residual_channels), np.float32)
        self.residual = 0.0  # that the network heard last
        self.position = 0
        self.random = np.random.default_rng(seed)


@dataclass
class Job:
    """n samples within one block."""

    packed: PackedWeights
    ring: np.ndarray  # (1, rows, R), updated
    heard: np.ndarray  # (2,), updated
    position: int
    conditioning: np.ndarray  # (M, L, 2 R)
    first_segment: int
    hold_length: int
    inputs: np.ndarray  # (n, R)
    skips: np.ndarray  # (n, S)
    excitation: np.ndarray  # (n,)
    level: np.ndarray  # (n,)
    uniforms: np.ndarray  # (n,)
    temperature: float
    forced: np.ndarray  # (n,) or (0,)
    residuals: np.ndarray  # (n,), written
    parameters: np.ndarray  # (n, 3 K) or (0, 3 K), written


def padded(excitation: np.ndarray) -> Tensor:
    """A whole signal (N,) with the silence that the network expects beyond both ends: (1, N + 2 MARGIN)."""
    return nnf.pad(torch.from_numpy(np.ascontiguousarray(excitation, np.float32))[None], (MARGIN, MARGIN))


@torch.no_grad()
def expected(model: ExcitedWaveNet, features: Tensor, domain: int, excitation: np.ndarray) -> np.ndarray:
    """Expected residuals (N,) for features (F, T) in dB and an excitation (N,): what ``generate`` gives at temperature 0."""
    device, c, N = model.feature_mean_db.device, model.config, len(excitation)
    wide, index = padded(excitation).to(device), torch.tensor([domain], device=device)
    features = features[None].to(device)
    block = BLOCK_FRAMES * c.hop_length
    warm_up = math.ceil(model.receptive_field() / c.hold_length) * c.hold_length
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
    want_parameters: bool = False,
    route: str = "numba",
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (length,), and the mixtures' parameters (length, 3 K) if wanted, sample by sample.

    ``features`` (F, T) in dB and ``excitation`` (N,) are those of the whole signal from sample 0. With ``state`` the generation goes on
    where that stands; ``length`` None goes to the end. ``uniforms`` (length,) fix the draws. ``forced`` (length,): residuals that are
    heard instead of one's own. Chunks of any sizes give the same as one call. Raises RetimbreError for what cannot work.
    """
    c, device = model.config, model.feature_mean_db.device
    state = State(model, seed) if state is None else state
    N = len(excitation)
    length = N - state.position if length is None else length
    if length < 1 or state.position + length > N:
        raise RetimbreError(f"an excitation of {N} samples has none from {state.position} to {state.position + length}.")
    if not temperature >= 0:
        raise RetimbreError(f"vocoder.excited_temperature must be at least 0, not {temperature}.")
    if route not in ROUTES:
        raise RetimbreError(f"the generation route must be one of {', '.join(ROUTES)}, not {route}.")
    advance = _run_numba if route == "numba" else _run_eager
    wide, index, features = padded(excitation).to(device), torch.tensor([domain], device=device), features[None].to(device)
    residuals, parameters = np.empty(length, np.float32), np.empty((length if want_parameters else 0, c.outputs), np.float32)
    block, done = BLOCK_FRAMES * c.hop_length, 0
    while done < length:
        start = state.position
        stop = min((start // block + 1) * block, start + length - done)
        n, now = stop - start, slice(done, done + stop - start)
        inputs, skips, level = model.excite(wide[:, start : stop + 2 * MARGIN])
        last = wide[:, start + MARGIN - 1 : start + MARGIN]
        heard = feedback(torch.full_like(last, state.residual), last, level[:, :1])[0, 0]
        first_segment = start // c.hold_length
        h = model.segments(features, index, first_segment, math.ceil(stop / c.hold_length)).cpu().float()
        p = state.packed
        job = Job(
            packed=p,
            ring=state.ring,
            heard=heard.cpu().numpy(),
            position=start,
            conditioning=torch.addmm(p.projection_bias, h[0], p.projection).view(-1, p.layers, 2 * p.residual_channels).numpy(),
            first_segment=first_segment,
            hold_length=c.hold_length,
            inputs=_columns(inputs, p.residual_channels),
            skips=_columns(skips * model.skip_scale, p.skip_bias.shape[0]),
            excitation=wide[0, start + MARGIN : stop + MARGIN].cpu().numpy(),
            level=np.ascontiguousarray(level[0, 1:].cpu().numpy()),
            uniforms=state.random.random(n, dtype=np.float32) if uniforms is None else np.ascontiguousarray(uniforms[now], np.float32),
            temperature=temperature,
            forced=np.empty(0, np.float32) if forced is None else np.ascontiguousarray(forced[now], np.float32),
            residuals=residuals[now],
            parameters=parameters[now] if want_parameters else parameters,
        )
        advance(job)
        state.residual = float(forced[now][-1] if forced is not None else temperature * residuals[done + n - 1])
        state.position, done = stop, done + n
    return residuals, parameters


def _columns(x: Tensor, channels: int) -> np.ndarray:
    """(1, n, C) -> (n, channels), zeros in the columns that the kernels pad with."""
    return np.ascontiguousarray(nnf.pad(x[0], (0, channels - x.shape[-1])).cpu().float().numpy())


def _run_numba(job: Job) -> None:
    from retimbre.vocoders.excited.kernel import run_excited  # compiled on first use, not on import

    p = job.packed
    matrices = (p.embedding, p.gate, p.output, p.output_bias, p.skip_bias, p.hidden, p.hidden_bias, p.head, p.head_bias)
    run_excited(
        *(m.numpy() for m in matrices), p.dilations, p.offsets, np.float32(p.residual_scale), job.ring, job.heard, job.position,
        job.conditioning, job.first_segment, job.hold_length, job.inputs, job.skips, job.excitation, job.level, job.uniforms,
        np.float32(job.temperature), job.forced, job.residuals, job.parameters,
    )  # fmt: skip


def _run_eager(job: Job) -> None:
    """The same loop in plain torch: the reference that the kernel is checked against."""
    p, ring, R = job.packed, torch.from_numpy(job.ring[0]), job.packed.residual_channels
    inputs, skips, gates = (torch.from_numpy(a) for a in (job.inputs, job.skips, job.conditioning))
    level, excitation = torch.from_numpy(job.level), torch.from_numpy(job.excitation)
    heard = torch.from_numpy(job.heard)
    for i in range(len(job.residuals)):
        t = job.position + i
        x, skip = inputs[i] + heard @ p.embedding, p.skip_bias + skips[i]
        for layer in range(p.layers):
            dilation, first, stop = int(p.dilations[layer]), int(p.offsets[layer]), int(p.offsets[layer + 1])
            past = [ring[first + (t - k * dilation) % (stop - first)] for k in range(p.kernel - 1, 0, -1)]
            h = torch.cat([*past, x]) @ p.gate[layer] + gates[t // job.hold_length - job.first_segment, layer]
            ring[first + t % (stop - first)] = x
            update = (torch.tanh(h[:R]) * torch.sigmoid(h[R:])) @ p.output[layer]
            x, skip = x * p.residual_scale + p.output_bias[layer] + update[:R], skip + update[R:]
        outputs = torch.relu(torch.relu(skip) @ p.hidden + p.hidden_bias) @ p.head + p.head_bias
        parameters = locate(outputs[None, None], level[None, i : i + 1])
        value = mean(parameters)[0, 0]
        if job.temperature:
            drawn = _drawn(parameters[0], float(job.uniforms[i]))
            value = value + job.temperature * (drawn - value)
        job.residuals[i] = value
        if len(job.parameters):
            job.parameters[i] = parameters[0, 0]
        told = torch.tensor(float(job.forced[i]) if len(job.forced) else job.temperature * float(value))
        heard = feedback(told.view(1, 1), excitation[None, i : i + 1], level[None, i : i + 1])[0, 0]
    job.heard[:] = heard


def _drawn(parameters: Tensor, uniform: float) -> Tensor:
    """One draw from a mixture (1, 3 K), as ``mixture.draw`` but not rounded to 16 bits."""
    log_weights, means, log_scales = mixture.split(parameters[0])
    upto = torch.exp(log_weights - log_weights.amax()).cumsum(0)
    limit = uniform * upto[-1]
    k = int((upto[:-1] <= limit).sum())
    below = upto[k - 1] if k else torch.zeros(())
    u = ((limit - below) / (upto[k] - below)).clamp(mixture.LEAST_UNIFORM, 1 - mixture.LEAST_UNIFORM)
    return means[k] + torch.exp(log_scales[k]) * (torch.log(u) - torch.log1p(-u))
