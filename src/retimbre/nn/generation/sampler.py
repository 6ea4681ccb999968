"""Draw codes from a WaveNet, in one go or in chunks with carried state, by one of several routes.

Every route reads the same packed weights and the same state and draws by the inverse CDF of given uniforms, so all of them give
the same codes (up to a draw that falls within rounding, about 1e-6, of the edge between two codes).
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retimbre.errors import RetimbreError
from retimbre.nn.generation.stream import rounded
from retimbre.nn.generation.weights import PackedWeights, pack
from retimbre.nn.wavenet.network import SEGMENTS_PER_FRAME, WaveNet, check_features

ROUTES = ("auto", "numba", "cpp", "eager", "cuda")
BLOCK_FRAMES = 64  # conditioning is computed for this many frames at a time, on a fixed grid: memory does not grow with length
MAX_TILE = 8  # streams that one thread advances together, sharing every weight that it reads


class State:
    """What is carried from chunk to chunk: the rings of past layer inputs, the last code, the position, the random generator.

    ``streams`` is the number of signals generated side by side; ``seed`` None draws from the system's entropy. The model's
    weights are packed once, here, as "float32" or "bfloat16" (see ``stream``); ``copy`` gives an independent state (a branch point),
    ``take`` one whose streams go on from chosen streams of this one.
    """

    def __init__(self, model: WaveNet, streams: int, seed: int | None = None, weights: str = "float32"):
        self.packed: PackedWeights = rounded(pack(model), weights)
        self.ring = np.zeros((streams, self.packed.ring_rows, self.packed.residual_channels), np.float32)
        self.code = np.full(streams, model.config.silence, np.int64)
        self.position = 0  # samples generated so far
        self.random = np.random.default_rng(seed)
        self.past = np.zeros((streams, 0), np.int64)  # inputs that a context stack still has to see, from the edge of a segment
        self._context: tuple[int, Tensor] | None = None  # (segment, what the stack adds to its gates)
        self._block: tuple[tuple[int, int], np.ndarray] | None = None  # ((block number, frames), conditioning)
        self._step = None  # the eager route's weights on its device
        self._graphed = None  # the same with the buffers and the graph of the cuda route

    @property
    def streams(self) -> int:
        return len(self.code)

    def copy(self) -> "State":
        other = object.__new__(State)
        other.__dict__.update(self.__dict__)
        other.ring, other.code = self.ring.copy(), self.code.copy()  # all else is replaced when it changes, never written to
        other.random = np.random.default_rng()
        other.random.bit_generator.state = self.random.bit_generator.state
        return other

    def take(self, rows: np.ndarray) -> "State":
        """A state of ``len(rows)`` streams, stream i going on from this one's stream ``rows[i]``.

        The random generator is shared. All streams must have the same features and domain.
        """
        other = object.__new__(State)
        other.__dict__.update(self.__dict__)
        other.ring, other.code, other.past = self.ring[rows], self.code[rows], self.past[rows]
        if self._context is not None:
            other._context = (self._context[0], self._context[1][rows])
        if len(rows) != self.streams:
            other._block, other._graphed = None, None  # made for another number of streams
        return other


@dataclass
class Job:
    """n samples of B streams within one conditioning block."""

    packed: PackedWeights
    ring: np.ndarray  # (B, rows, R) float32, updated
    code: np.ndarray  # (B,) int64, updated
    position: int  # of the first sample
    conditioning: np.ndarray  # (B, M, L, 2 R) float32
    first_segment: int  # the segment that conditioning[:, 0] belongs to
    hold_length: int  # samples per segment
    uniforms: np.ndarray  # (B, n) float32 in [0, 1)
    inverse_temperature: float
    forced: np.ndarray  # (B, n) uint8 (uint16 with a mixture of logistics), or (B, 0): draw freely
    codes: np.ndarray  # (B, n), same type, written
    logits: np.ndarray  # (B, n, O) float32, written, or (B, 0, O)

    def streams(self, start: int, stop: int) -> "Job":
        """The same job for some of the streams; the arrays are views."""
        cut = {name: getattr(self, name)[start:stop] for name in ("ring", "code", "conditioning", "uniforms", "forced", "codes", "logits")}
        return Job(**{**self.__dict__, **cut})


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
    weights: str = "float32",
) -> np.ndarray:
    """Draw codes (B, length): of mu-law, uint8; of 16-bit audio, uint16, where the network's output is a mixture of logistics.

    ``features`` (B, F, T) in dB (un-normalised: the model normalises), frame t centred on sample t * hop_length; ``domain`` (B,)
    or one for all. ``length`` None generates (T - 1) * hop_length samples. ``uniforms`` (B, length) in [0, 1) fixes the draws,
    else they come from ``seed`` (None: the system's entropy). ``temperature`` > 0 divides the logits.

    With ``state`` (see ``State``) the generation goes on where that state stands, and the state is updated; ``features`` are always
    those of the whole signal from sample 0. Chunks of any sizes give the same codes as one call.

    ``route``: "numba" (default on a CPU), "cpp" (faster, needs g++, falls back to numba), "eager" (torch, any device), "cuda" (the
    eager step as a CUDA graph, default on a GPU; falls back to numba for a model that is not on one, to eager where it cannot be recorded).
    A mixture of logistics is not drawn by "cpp", which refuses.
    ``threads`` share the streams. ``weights`` "bfloat16" rounds the matrices, for speed on the C++ route; a ``state`` has its own.
    Raises RetimbreError for shapes, lengths, temperatures or routes that cannot work.
    """
    return _run(model, features, domain, length, temperature, uniforms, seed, route, threads, state, weights, None, False)[0]


def forced_logits(
    model: WaveNet,
    features: Tensor | np.ndarray,
    domain: Tensor | np.ndarray | int,
    codes: Tensor | np.ndarray,
    route: str = "auto",
    threads: int = 1,
    state: State | None = None,
    weights: str = "float32",
) -> np.ndarray:
    """Outputs (B, N, O) of the cached loop, logits of 256 codes or a mixture's parameters, when it is fed ``codes`` (B, N).

    Equal to ``model(shift_right(codes, silence), features, domain)`` for a fresh state; a carried state goes on from there.
    """
    codes = np.asarray(codes)
    zeros = np.zeros(codes.shape, np.float32)
    return _run(model, features, domain, codes.shape[1], 1.0, zeros, None, route, threads, state, weights, codes, True)[1]


@torch.no_grad()
def _run(model, features, domain, length, temperature, uniforms, seed, route, threads, state, weights, forced, want_logits):
    config = model.config
    device = model.feature_mean_db.device
    features = torch.as_tensor(features).to(device)
    if features.dim() != 3:
        raise RetimbreError(f"the WaveNet needs features of shape (B, {config.feature_bins}, T), not {tuple(features.shape)}.")
    B, T = features.shape[0], features.shape[2]
    domain = torch.as_tensor(domain, device=device, dtype=torch.int64).reshape(-1).expand(B)
    if state is None:
        state = State(model, B, seed, weights)
    length = (T - 1) * config.hop_length - state.position if length is None else length
    check_features(config, features, state.position + length)
    _check(config, domain, length, temperature, uniforms, threads, state, B)
    advance = _route(route, device, state.packed)

    kind = np.uint8 if config.output == "softmax" else np.uint16
    codes = np.empty((B, length), kind)
    logits = np.empty((B, length if want_logits else 0, config.outputs), np.float32)
    block_length = BLOCK_FRAMES * config.hop_length
    done = 0
    while done < length:
        block = state.position // block_length
        n = min((block + 1) * block_length - state.position, length - done)
        conditioning, first_segment = _conditioning(model, features, domain, state, block), block * BLOCK_FRAMES * SEGMENTS_PER_FRAME
        if model.context is not None:  # one segment at a time: the next one's conditioning depends on its samples
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
            forced=np.empty((B, 0), kind) if forced is None else np.ascontiguousarray(forced[:, now], dtype=kind),
            codes=np.empty((B, n), kind),
            logits=np.empty((B, n if want_logits else 0, config.outputs), np.float32),
        )
        before = state.code.copy()
        advance(job, threads, state, device)
        codes[:, now] = job.codes
        if want_logits:
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
        raise RetimbreError(f"vocoder.wavenet_temperature must be greater than 0, not {temperature}.")
    if threads < 1:
        raise RetimbreError(f"the number of generation threads must be at least 1, not {threads}.")
    if state.streams != B:
        raise RetimbreError(f"the generation state holds {state.streams} streams, but features for {B} were given.")
    if uniforms is not None and uniforms.shape != (B, length):
        raise RetimbreError(f"uniforms must have the shape {(B, length)}, not {tuple(uniforms.shape)}.")
    if int(domain.min()) < 0 or int(domain.max()) >= config.n_domains:
        raise RetimbreError(f"the WaveNet knows domains 0 to {config.n_domains - 1}, not {domain.tolist()}.")


def _conditioning(model: WaveNet, features: Tensor, domain: Tensor, state: State, block: int) -> np.ndarray:
    """Gate inputs of one block of frames, (B, M, L, 2 R); the last one is kept, for streaming in small chunks."""
    T = features.shape[2]
    if state._block is None or state._block[0] != (block, T):
        start = block * BLOCK_FRAMES
        stop = min(start + BLOCK_FRAMES, T)
        h = model.segments(features, domain, start * SEGMENTS_PER_FRAME, stop * SEGMENTS_PER_FRAME).cpu().float()
        p = state.packed
        gates = torch.matmul(h, p.projection).add_(p.projection_bias).view(*h.shape[:2], p.layers, 2 * p.residual_channels)
        state._block = ((block, T), gates.numpy())
    return state._block[1]


def _context(model: WaveNet, state: State, segment: int) -> np.ndarray:
    """What the context stack adds to the gates of ``segment``, (B, 1, L, 2 R); it is run once a segment."""
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


def _route(name, device: torch.device, packed: PackedWeights):
    if callable(name):  # a kernel under test
        return _tiled(name)
    if name not in ROUTES:
        raise RetimbreError(f"the generation route must be one of {', '.join(ROUTES)}, not {name}.")
    if name == "cpp" and packed.mixtures:
        raise RetimbreError("the generation route cpp draws 8-bit codes only: choose numba or eager with vocoder.wavenet_output mol.")
    if name == "auto":
        name = {"cpu": "numba", "cuda": "cuda"}.get(device.type, "eager")
    if name == "cpp":
        from retimbre.nn.generation import cpp_kernel

        return _tiled(cpp_kernel.run_job) if cpp_kernel.available() else _tiled(_run_numba)
    if name == "cuda" and device.type == "cuda":
        return _run_cuda
    if name == "cuda":
        print("The generation route cuda is not used (the model is not on a GPU); numba takes over.", file=sys.stderr)
    return _run_eager if name == "eager" else _tiled(_run_numba)


def _tiled(run_job):
    """Streams are dealt to the threads in tiles; kernels release the GIL."""

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


def _run_numba(job: Job) -> None:
    from retimbre.nn.generation.numba_kernel import run_streams  # compiled on first use, not on import

    p = job.packed
    matrices = (p.embedding, p.gate, p.output, p.output_bias, p.skip_bias, p.hidden, p.hidden_bias, p.head, p.head_bias)
    run_streams(
        *(m.numpy() for m in matrices), p.dilations, p.offsets, np.float32(p.residual_scale), p.mixtures, job.ring, job.code, job.position,
        job.conditioning, job.first_segment, job.hold_length, job.uniforms, np.float32(job.inverse_temperature), job.forced,
        job.codes, job.logits,
    )  # fmt: skip


def _run_eager(job: Job, threads: int, state: State, device: torch.device) -> None:
    from retimbre.nn.generation import eager

    eager.run(_eager_step(state, device), *_tensors(job))


def _run_cuda(job: Job, threads: int, state: State, device: torch.device) -> None:
    from retimbre.nn.generation.cuda import GraphedStep

    try:
        if state._graphed is None:  # False: it failed before
            graphed = GraphedStep(_eager_step(state, device), torch.from_numpy(job.ring), BLOCK_FRAMES * SEGMENTS_PER_FRAME)
            graphed.capture()
            state._graphed = graphed
    except RuntimeError as error:  # torch's own: out of memory, or a driver that cannot record
        print(f"The step is not run as a CUDA graph ({str(error).splitlines()[0]}); eager takes over.", file=sys.stderr)
        state._graphed = False
    if state._graphed:
        state._graphed.run(*_tensors(job))
    else:
        _run_eager(job, threads, state, device)


def _eager_step(state: State, device: torch.device):
    from retimbre.nn.generation import eager

    if state._step is None or state._step.device != device:
        state._step = eager.EagerStep(state.packed, device)
    return state._step


def _tensors(job: Job) -> tuple:
    """A job as the torch routes take it, see ``eager.run``."""
    return (
        torch.from_numpy(job.ring), torch.from_numpy(job.code), job.position, torch.from_numpy(job.conditioning),
        job.first_segment, job.hold_length, torch.from_numpy(job.uniforms), job.inverse_temperature,
        torch.from_numpy(job.forced) if job.forced.shape[1] else None, torch.from_numpy(job.codes),
        torch.from_numpy(job.logits) if job.logits.shape[1] else None,
    )  # fmt: skip
