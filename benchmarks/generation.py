"""Cases: WaveNet generation. Unit: samples per second, summed over the streams.

The peer is ``wavenet_vocoder`` 0.1.1 (r9y9), whose own weights are copied into our network, so that both do
the same work; ``same_network`` is checked against the peer's forward pass before anything is timed.
"""

import ctypes
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import Case, Route
from retimbre.nn.generation import cpp_kernel
from retimbre.nn.generation.sampler import generate
from retimbre.nn.generation.weights import pack
from retimbre.nn.wavenet.network import WaveNet, shift_right
from retimbre.nn.wavenet.options import CODES, WaveNetConfig

HOP, FEATURES = 256, 80
WIDE = {"residual_channels": 64, "skip_channels": 64, "conditioning_channels": 80}
PUBLISHED = WaveNetConfig(FEATURES, HOP, 1, layers=20, layers_per_stack=10, **WIDE)
DEFAULT = WaveNetConfig(84, HOP, 2)


def peer_network(config: WaveNetConfig):
    """The peer at our sizes, in evaluation mode, or None when it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from wavenet_vocoder import WaveNet as Peer
    except ImportError:
        return None
    torch.manual_seed(0)
    peer = Peer(
        out_channels=CODES,
        layers=config.layers,
        stacks=config.layers // config.layers_per_stack,
        residual_channels=config.residual_channels,
        gate_channels=2 * config.residual_channels,
        skip_out_channels=config.skip_channels,
        kernel_size=config.kernel,
        cin_channels=config.feature_bins,
        weight_normalization=False,
        legacy=False,
    )
    peer.make_generation_fast_()  # as its own synthesis script does: weight normalisation is folded in
    return peer.eval()


@torch.no_grad()
def same_network(peer, config: WaveNetConfig) -> WaveNet:
    """The peer's weights in our layout.

    Its conditioning comes at sample rate, so ours keeps its own frame-rate layers; with silent conditioning
    on both sides the logits are equal.
    """
    model = WaveNet(config)
    R = config.residual_channels
    model.embedding.weight.copy_(peer.first_conv.weight[:, :, 0].T + peer.first_conv.bias)
    gate_bias = []
    for layer, block in enumerate(peer.conv_layers):
        taps = block.conv.weight.permute(2, 1, 0)  # K, in, out
        model.gate_weight[layer].copy_(taps.reshape(-1, taps.shape[2]))
        gate_bias.append(block.conv.bias + block.conv1x1c.bias)
        model.output_weight[layer, :, :R].copy_(block.conv1x1_out.weight[:, :, 0].T)
        model.output_weight[layer, :, R:].copy_(block.conv1x1_skip.weight[:, :, 0].T / model.skip_scale)
        model.output_bias[layer, :R].copy_(block.conv1x1_out.bias)
        model.output_bias[layer, R:].copy_(block.conv1x1_skip.bias / model.skip_scale)
    model.conditioning_projection.bias.copy_(torch.cat(gate_bias))
    head = (model.head_hidden, peer.last_conv_layers[1]), (model.head_output, peer.last_conv_layers[3])
    for ours, theirs in head:
        ours.weight.copy_(theirs.weight[:, :, 0])
        ours.bias.copy_(theirs.bias)
    return model.eval()


@torch.no_grad()
def largest_difference(peer, model: WaveNet) -> float:
    """Largest difference of the peer's logits from ours on random codes, conditioning silenced."""
    generator, length = torch.Generator().manual_seed(0), 2 * model.config.receptive_field()
    codes = torch.randint(0, CODES, (1, length), generator=generator)
    previous = shift_right(codes)
    one_hot = torch.nn.functional.one_hot(previous, CODES).float().transpose(1, 2)
    theirs = peer(one_hot, torch.zeros(1, model.config.feature_bins, codes.shape[1])).transpose(1, 2)
    weight = model.conditioning_projection.weight.detach().clone()
    model.conditioning_projection.weight.zero_()
    features = torch.zeros(1, model.config.feature_bins, codes.shape[1] // model.config.hop_length + 1)
    ours = model(previous, features, torch.zeros(1, dtype=torch.long))
    model.conditioning_projection.weight.copy_(weight)
    return float((ours - theirs).abs().max())


def generation_cases(quick: bool) -> Iterator[Case]:
    peer = peer_network(PUBLISHED)
    note = "" if peer else "wavenet_vocoder is not installed (benchmarks/requirements.txt): no ratios"
    torch.manual_seed(0)
    if peer:
        model = same_network(peer, PUBLISHED)
        difference = largest_difference(peer, model)
        if difference > 1e-3:
            raise RuntimeError(f"the peer's network was not copied: logits differ by {difference:.2g}")
        note = f"same weights as the peer (logits differ by {difference:.1g})"
    else:
        model = WaveNet(PUBLISHED).eval()

    peers = [_peer_route(peer, 60)] if peer else []
    against = "wavenet_vocoder" if peer else None
    sizes, counts = "20 layers, 64/128/64", {"eager": 300, "numba": 2000, "cpp": 8000}
    routes = _routes(model, counts) + peers
    case = Case("WaveNet", f"{sizes}, 1 stream", "samples/s", routes, against, note=note)
    if cpp_kernel.available():
        case.limits, case.limit_for = _limits(model), "cpp"
    yield case

    counts = {"eager": 100, "numba": 500, "cpp": 2000}
    note = "the peer draws one stream at a time only; with more it runs without drawing, which spares it work"
    for threads in (1, 2):
        peers = [_peer_route(peer, 60, 8, threads)] if peer else []
        if peer and threads > 1:  # the peer at its best is the reference: a second thread only slows it
            against = "wavenet_vocoder, one thread"
            peers.append(_peer_route(peer, 60, 8, 1, against))
        routes = _routes(model, counts, 8, threads) + peers
        yield Case("WaveNet", f"{sizes}, 8 streams", "samples/s", routes, against, threads, note=note)

    routes = _routes(WaveNet(DEFAULT).eval(), {"eager": 500, "numba": 8000, "cpp": 16000})
    name = "this project's default (10 layers, 32/64/64), 1 stream"
    yield Case("WaveNet", name, "samples/s", routes, None, note="16000 is real time")
    if not quick:
        yield from _growth(model, sizes)


def _growth(model: WaveNet, sizes: str) -> Iterator[Case]:
    """Speed by layers, threads and streams."""
    for layers in (10, 20, 40):
        wide = {"residual_channels": 64, "conditioning_channels": 80}
        config = WaveNetConfig(FEATURES, HOP, 1, layers=layers, **wide)
        routes = _routes(WaveNet(config).eval(), {"numba": 2000, "cpp": 4000})
        yield Case("WaveNet growth", f"{layers} layers, 1 stream", "samples/s", routes, None)
    counts = {"numba": 500, "cpp": 500}
    for threads in (1, 2):
        routes, name = _routes(model, counts, 4, threads), f"{sizes}, 4 streams, {threads} threads"
        yield Case("WaveNet growth", name, "samples/s", routes, None, threads)
    for streams in (2, 8, 32):
        routes = _routes(model, counts, streams)
        yield Case("WaveNet growth", f"{sizes}, {streams} streams", "samples/s", routes, None)


def _routes(model: WaveNet, counts: dict[str, int], streams: int = 1, threads: int = 1) -> list[Route]:
    """Our routes that are here, with the samples per stream of a call."""

    def route(name: str, n: int) -> Route:
        shape = (streams, model.config.feature_bins, n // HOP + 1)
        features = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        given = {"seed": 0, "route": name, "threads": threads}
        return Route(name, lambda: generate(model, features, 0, n, **given), streams * n)

    return [route(name, n) for name, n in counts.items() if name != "cpp" or cpp_kernel.available()]


def _peer_route(peer, n: int, streams: int = 1, threads: int = 1, label: str = "wavenet_vocoder") -> Route:
    c = torch.randn(streams, peer.cin_channels, n)
    # More than one stream: the number is taken from given first inputs, and each step's softmax is fed back
    # instead of a draw.
    first = torch.nn.functional.one_hot(torch.full((streams, 1), 127), CODES).float()
    several = {} if streams == 1 else {"test_inputs": first, "quantize": False}

    def call():
        torch.set_num_threads(threads)
        try:
            with torch.no_grad():
                peer.incremental_forward(c=c, T=n, **several)
        finally:
            torch.set_num_threads(1)

    return Route(label, call, streams * n)


def _limits(model: WaveNet) -> dict:
    """Two limits of one stream on one core: weights streamed from where they lie, the same sums out of L1."""
    weights = pack(model).stream  # the very weights, laid and aligned as the kernel reads them
    floats = len(weights) // 128 * 128
    folder = tempfile.TemporaryDirectory()
    library_path = Path(folder.name) / "limits.so"
    source = Path(__file__).with_name("limits.cpp")
    command = ["g++", *cpp_kernel.FLAGS, "-o", str(library_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    library = ctypes.CDLL(str(library_path))
    library.stream_weights.restype = ctypes.c_float

    def make(block: int):
        def call(steps: int = 1000):
            library.stream_weights(
                weights.ctypes.data_as(ctypes.c_void_p), *(ctypes.c_int64(v) for v in (floats, block, steps))
            )
            return folder  # kept until the last call

        return call, 1000.0

    return {
        f"{floats * 4 / 1e6:.2f} MB of weights streamed": lambda: make(floats),
        "the same arithmetic out of L1": lambda: make(4096),
    }
