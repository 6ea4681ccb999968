"""Draw codes from a WaveNet, in one go or in chunks with carried state, by one of several routes.

Every route reads the same packed weights and the same state and draws by the inverse CDF of given uniforms,
so all of them give the same codes (up to a draw that falls within rounding, about 1e-6, of the edge between
two codes). What each is for (one stream on one core, 20 layers of 64 channels, benchmarks/results.md):

- ``numba``, the default on a CPU: 13,000 samples/s, five times the eager step, without a build tool.
- ``cpp``: 40,000 samples/s, the only route that is faster than real time (16,000) at this size. It needs g++
  and is never chosen by itself: what a seed gives does not depend on whether a compiler is installed.
- ``cuda``, the default on a GPU: the eager step as one CUDA graph.
- ``eager``: plain torch, which the others are checked against; for any other device.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.generation import cpp_kernel, eager, numba_kernel
from retimbre.nn.generation.cuda import GraphedStep
from retimbre.nn.generation.job import Job
from retimbre.nn.generation.weights import PackedWeights, pack
from retimbre.nn.wavenet.network import WaveNet, check_features
from retimbre.nn.wavenet.options import SEGMENTS_PER_FRAME

# Conditioning is computed for this many frames at a time, on a fixed grid: memory does not grow with length.
BLOCK_FRAMES = 64
MAX_TILE = 8  # streams that one thread advances together, sharing every weight that it reads


class State:
    """State of a generation between chunks: rings of past layer inputs, last code, position, generator.

    ``streams`` is the number of signals generated side by side; ``seed`` None draws from the system's
    entropy. The model's weights are packed once, here; ``take`` branches off.
    """

    def __init__(self, model: WaveNet, streams: int, seed: int | None = None):
        self.packed: PackedWeights = pack(model)
        self.ring = np.zeros((streams, self.packed.ring_rows, self.packed.residual_channels), np.float32)
        self.code = np.full(streams, model.config.silence, np.int64)
        self.position = 0  # samples generated so far
        self.random = np.random.default_rng(seed)
        self.past = np.zeros((streams, 0), np.int64)  # inputs for a context stack, from a segment's edge on
        self._context: tuple[int, Tensor] | None = None  # (segment, what the stack adds to its gates)
        self._block: tuple[tuple[int, int], np.ndarray] | None = None  # ((block, frames), conditioning)
        self._step: eager.EagerStep | None = None  # the weights on the eager route's device
        self._graphed: GraphedStep | bool | None = None  # the cuda route's step; False: it failed

    @property
    def streams(self) -> int:
        return len(self.code)

    def take(self, rows: np.ndarray) -> "State":
        """A state of ``len(rows)`` streams, stream i going on from this one's stream ``rows[i]``.

        The random generator is shared. All streams must have the same features and domain, or stay in their
        rows.
        """
        other = object.__new__(State)
        other.__dict__.update(self.__dict__)
        other.ring, other.code, other.past = self.ring[rows], self.code[rows], self.past[rows]
        if self._context is not None:
            other._context = (self._context[0], self._context[1][rows])
        if len(rows) != self.streams:
            other._block, other._graphed = None, None  # made for another number of streams
        return other


def generate(
    model: WaveNet,
    features: Tensor | np.ndarray,
    domain: Tensor | np.ndarray | int,
    length: int | None = None,
    temperature: float = 1.0,
    uniforms: np.ndarray | None = None,
    seed: int | None = None,
    route: str = "auto",
    threads: int = 1,
    state: State | None = None,
) -> np.ndarray:
    """Codes (B, length), drawn: mu-law, uint8; 16-bit, uint16, where the output is a mixture of logistics.

    ``features`` (B, F, T) in dB (the model normalises), frame t centred on sample t * hop_length;
    ``domain`` (B,) or one for all. ``length`` None generates (T - 1) * hop_length samples. ``uniforms`` (B,
    length) in [0, 1) fixes the draws, else they come from ``seed`` (None: the system's entropy).
    ``temperature`` > 0 divides the logits.

    With ``state`` (see ``State``) the generation goes on where that state stands, and the state is updated;
    ``features`` are always those of the whole signal from sample 0. Chunks of any sizes give the same codes
    as one call.

    ``route``: auto or one of ``ROUTES`` (see the module). cpp falls back to numba where it cannot be built,
    cuda to eager where the step cannot be recorded, each with a sentence. ``threads`` share the streams.
    Raises RetimbreError for shapes, lengths, temperatures or routes that cannot work.
    """
    return _run(model, features, domain, length, temperature, uniforms, seed, route, threads, state, None)[0]


def forced_logits(
    model: WaveNet,
    features: Tensor | np.ndarray,
    domain: Tensor | np.ndarray | int,
    codes: Tensor | np.ndarray,
    route: str = "auto",
    state: State | None = None,
) -> np.ndarray:
    """Outputs (B, N, O) of the cached loop, logits or a mixture's parameters, fed with ``codes`` (B, N).

    Equal to ``model(shift_right(codes, silence), features, domain)`` for a fresh state; a carried state
    goes on from there.
    """
    codes = np.asarray(codes)
    zeros = np.zeros(codes.shape, np.float32)
    return _run(model, features, domain, codes.shape[1], 1.0, zeros, None, route, 1, state, codes)[1]


@torch.no_grad()
def _run(model, features, domain, length, temperature, uniforms, seed, route, threads, state, forced):
    """Codes (B, length) and outputs (B, length, O), the latter if codes are ``forced``."""
    config = model.config
    device = model.feature_mean_db.device
    features = torch.as_tensor(features).to(device)
    B, T = features.shape[0], features.shape[-1]
    state = State(model, B, seed) if state is None else state
    length = (T - 1) * config.hop_length - state.position if length is None else length
    check_features(config, features, state.position + length)
    domain = torch.as_tensor(domain, device=device, dtype=torch.int64).reshape(-1).expand(B)
    _check(config, domain, length, temperature, uniforms, threads, state, B)
    advance = _route(route, device, state.packed)

    kind = np.uint8 if config.output == "softmax" else np.uint16
    forced = None if forced is None else forced.astype(kind)
    codes = np.empty((B, length), kind)
    logits = np.empty((B, 0 if forced is None else length, config.outputs), np.float32)
    block_length = BLOCK_FRAMES * config.hop_length
    done = 0
    while done < length:
        block = state.position // block_length
        n = min((block + 1) * block_length - state.position, length - done)
        conditioning = _conditioning(model, features, domain, state, block)
        first_segment = block * BLOCK_FRAMES * SEGMENTS_PER_FRAME
        if model.context is not None:  # by segment: the next one's conditioning depends on its samples
            segment = state.position // config.hold_length
            n = min(n, (segment + 1) * config.hold_length - state.position)
            conditioning = conditioning[:, segment - first_segment, None] + _context(model, state, segment)
            first_segment = segment
        now = slice(done, done + n)
        if uniforms is None:  # time first, so that chunk sizes do not matter
            drawn = np.ascontiguousarray(state.random.random((n, B), dtype=np.float32).T)
        else:
            drawn = np.ascontiguousarray(uniforms[:, now], dtype=np.float32)
        job = Job(
            packed=state.packed,
            ring=state.ring,
            code=state.code,
            position=state.position,
            conditioning=conditioning,
            first_segment=first_segment,
            hold_length=config.hold_length,
            uniforms=drawn,
            inverse_temperature=1.0 / temperature,
            forced=np.empty((B, 0), kind) if forced is None else np.ascontiguousarray(forced[:, now]),
            codes=np.empty((B, n), kind),
            logits=np.empty((B, 0 if forced is None else n, config.outputs), np.float32),
        )
        before = state.code.copy()
        advance(job, threads, state, device)
        codes[:, now] = job.codes
        logits[:, now] = job.logits
        state.position += n
        done += n
        if model.context is not None:
            given = job.codes if forced is None else job.forced
            state.past = np.concatenate([state.past, before[:, None], given[:, :-1].astype(np.int64)], 1)
    return codes, logits


def _check(config, domain, length, temperature, uniforms, threads, state, B) -> None:
    if length < 1:
        raise RetimbreError(f"the number of samples to generate must be at least 1, not {length}.")
    if not temperature > 0:
        raise RetimbreError(f"the temperature of the sampling must be greater than 0, not {temperature}.")
    if threads < 1:
        raise RetimbreError(f"the number of generation threads must be at least 1, not {threads}.")
    if state.streams != B:
        raise RetimbreError(f"the generation state holds {state.streams} streams, but features are of {B}.")
    if uniforms is not None and uniforms.shape != (B, length):
        raise RetimbreError(f"uniforms must have the shape {(B, length)}, not {tuple(uniforms.shape)}.")
    if int(domain.min()) < 0 or int(domain.max()) >= config.n_domains:
        raise RetimbreError(f"the WaveNet knows domains 0 to {config.n_domains - 1}, not {domain.tolist()}.")


def _conditioning(model: WaveNet, features: Tensor, domain: Tensor, state: State, block: int) -> np.ndarray:
    """Gate inputs of one block of frames, (B, M, L, 2 R); the last is kept, for small chunks."""
    T = features.shape[2]
    if state._block is None or state._block[0] != (block, T):
        frames = block * BLOCK_FRAMES, min((block + 1) * BLOCK_FRAMES, T)
        h = model.segments(features, domain, *(SEGMENTS_PER_FRAME * frame for frame in frames)).cpu().float()
        p = state.packed
        gates = torch.matmul(h, p.projection).add_(p.projection_bias)
        state._block = ((block, T), gates.view(*h.shape[:2], p.layers, 2 * p.residual_channels).numpy())
    return state._block[1]


def _context(model: WaveNet, state: State, segment: int) -> np.ndarray:
    """The context stack's share of the gates of ``segment``, (B, 1, L, 2 R), computed once a segment."""
    p, hold, seen = state.packed, model.config.hold_length, model.config.context_segments
    if state._context is None or state._context[0] != segment:
        state.past = state.past[:, -seen * hold :]
        if segment == 0:  # nothing was heard yet
            gates = torch.zeros(state.streams, p.projection.shape[1])
        else:
            past = torch.from_numpy(state.past).to(model.feature_mean_db.device)
            gates = torch.matmul(model.context_of(past)[:, -1].cpu().float(), p.projection)
        state._context = (segment, gates)
    return state._context[1].view(-1, 1, p.layers, 2 * p.residual_channels).numpy()


def _tiled(run_job):
    """A kernel's route: streams are dealt to the threads in tiles; kernels release the GIL."""

    def advance(job: Job, threads: int, state: State, device: torch.device) -> None:
        B = len(job.code)
        tile = min(-(-B // threads), MAX_TILE)
        jobs = [job.streams(start, min(start + tile, B)) for start in range(0, B, tile)]
        if threads == 1 or len(jobs) == 1:
            for one in jobs:
                run_job(one)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run_job, jobs))

    return advance


def _eager_step(state: State, device: torch.device) -> eager.EagerStep:
    if state._step is None or state._step.device != device:
        state._step = eager.EagerStep(state.packed, device)
    return state._step


def _eager(job: Job, threads: int, state: State, device: torch.device) -> None:
    eager.run_job(_eager_step(state, device), job)


def _graphed(job: Job, threads: int, state: State, device: torch.device) -> None:
    try:
        if state._graphed is None:
            segments = BLOCK_FRAMES * SEGMENTS_PER_FRAME
            graphed = GraphedStep(_eager_step(state, device), state.streams, segments)
            graphed.capture()
            state._graphed = graphed
    except RuntimeError as error:  # torch's own: out of memory, or a driver that cannot record
        reason = str(error).splitlines()[0]
        print(f"The step is not run as a CUDA graph ({reason}); eager takes over.", file=sys.stderr)
        state._graphed = False
    if state._graphed:
        state._graphed.run_job(job)
    else:
        _eager(job, threads, state, device)


ROUTES = {
    "numba": _tiled(numba_kernel.run_job),
    "cpp": _tiled(cpp_kernel.run_job),
    "eager": _eager,
    "cuda": _graphed,
}


def _route(name: str, device: torch.device, packed: PackedWeights):
    if name == "auto":
        name = {"cpu": "numba", "cuda": "cuda"}.get(device.type, "eager")
    if name not in ROUTES:
        raise RetimbreError(f"the generation route must be auto or one of {', '.join(ROUTES)}, not {name}.")
    if name == "cuda" and device.type != "cuda":
        raise RetimbreError("the generation route cuda needs a model on a GPU: use numba.")
    if name == "cpp" and packed.mixtures:
        raise RetimbreError("the generation route cpp draws 8-bit codes: use numba for output mol.")
    return ROUTES["numba" if name == "cpp" and not cpp_kernel.available() else name]
