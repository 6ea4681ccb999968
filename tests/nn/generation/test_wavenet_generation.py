import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retimbre.errors import RetimbreError
from retimbre.nn.generation import cpp_kernel, cuda, sampler
from retimbre.nn.generation.eager import EagerStep
from retimbre.nn.generation.sampler import BLOCK_FRAMES, State, forced_logits, generate
from retimbre.nn.generation.weights import pack
from retimbre.nn.wavenet.network import SEGMENTS_PER_FRAME, WaveNet, WaveNetConfig, shift_right

OPTIONS = {
    "scalar": {"input": "scalar"},
    "nearest": {"upsampling": "nearest"},
    "transposed": {"upsampling": "transposed"},
    "context": {"context_layers": 4},
    "mol": {"input": "scalar", "output": "mol"},
    "mol, context, kernel 3": {
        "input": "scalar",
        "output": "mol",
        "mixtures": 3,
        "context_layers": 2,
        "kernel": 3,
    },
}
each_option = pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
HAS_COMPILER = shutil.which("g++") is not None
ROUTES = [
    "eager",
    "numba",
    pytest.param("cpp", marks=pytest.mark.skipif(not HAS_COMPILER, reason="needs g++")),
]
HOP = 16
BLOCK = BLOCK_FRAMES * HOP


@pytest.fixture(scope="module", autouse=True)
def kernel_cache(tmp_path_factory):
    """The C++ kernel is really built, and outside the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CXX", raising=False)
        forget_library()
        yield
    forget_library()


def forget_library() -> None:
    cpp_kernel.available.cache_clear()
    cpp_kernel._library.cache_clear()


def network(kernel: int = 2, **changes) -> WaveNet:
    """Sharper than a fresh one, so that draws depend on the past; odd channel counts exercise the padding."""
    torch.manual_seed(kernel)
    sizes = {"feature_bins": 6, "hop_length": HOP, "n_domains": 2, "layers": 7, "layers_per_stack": 4}
    sizes |= {"residual_channels": 20, "skip_channels": 28, "conditioning_channels": 10, "kernel": kernel}
    model = WaveNet(
        WaveNetConfig(**{**sizes, **changes}), torch.full((6,), -40.0), torch.full((6,), 10.0)
    ).eval()
    with torch.no_grad():
        model.output_bias.normal_(0, 0.1)
        if model.config.output == "mol":
            model.head_output.weight.mul_(20)
        else:
            model.head_output.weight.mul_(6)
            model.head_output.bias.copy_(-(((torch.arange(256) - 128) / 50.0) ** 2))
    return model


def inputs(B: int, N: int, codes: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    features = random.normal(-40, 10, (B, 6, -(-N // HOP))).astype(np.float32)
    codes = random.integers(0, codes, (B, N), dtype=np.uint8 if codes == 256 else np.uint16)
    return codes, features, np.arange(B) % 2, random.random((B, N), dtype=np.float32)


def clear_uniforms(model, features, domain, uniforms, temperature: float) -> np.ndarray:
    """The uniforms, but those on the edge between two codes go to the middle of the code drawn.

    So no route's rounding matters.
    """
    drawn = generate(model, features, domain, uniforms.shape[1], temperature, uniforms, route="eager")
    logits = forced_logits(model, features, domain, drawn, route="eager").astype(np.float64) / temperature
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    above = np.take_along_axis(np.cumsum(p, -1), drawn[..., None].astype(np.int64), -1)[..., 0]
    own = np.take_along_axis(p, drawn[..., None].astype(np.int64), -1)[..., 0]
    near = np.minimum(above - uniforms, uniforms - above + own) < np.minimum(1e-4, own / 4)
    assert near.mean() < 0.1
    return np.where(near, above - own / 2, uniforms).astype(np.float32)


def teacher_forced(model, codes, features, domain) -> np.ndarray:
    with torch.no_grad():
        return model(
            shift_right(torch.from_numpy(codes.astype(np.int64)), model.config.silence),
            torch.from_numpy(features),
            torch.from_numpy(domain),
        ).numpy()


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("route", ROUTES)
def test_cached_loop_equals_the_parallel_forward(route, kernel):
    model = network(kernel)
    N = BLOCK + 150  # over a block of conditioning, and many turns of every ring
    assert N > 20 * model.config.receptive_field()
    codes, features, domain, _ = inputs(5, N)
    reference = teacher_forced(model, codes, features, domain)
    assert reference.std() > 1
    assert np.abs(forced_logits(model, features, domain, codes, route=route) - reference).max() <= 1e-4


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("route", ROUTES)
def test_goes_on_exactly_from_any_state_of_any_route(route, kernel):
    model = network(kernel)
    codes, features, domain, uniforms = inputs(3, 400)
    state = State(model, 3)
    drawn = generate(model, features, domain, 237, uniforms=uniforms[:, :237], route="numba", state=state)
    branch = state.take(np.arange(3))
    everything = np.concatenate([drawn, codes[:, 237:]], 1)
    logits = forced_logits(model, features, domain, codes[:, 237:], route=route, state=branch)
    assert np.abs(logits - teacher_forced(model, everything, features, domain)[:, 237:]).max() <= 1e-4
    assert (branch.position, state.position) == (400, 237)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_all_routes_draw_the_same_samples(kernel, temperature):
    """Features and domains differ between the streams; both kernels, temperature, given uniforms."""
    model = network(kernel)
    _, features, domain, uniforms = inputs(3, 700)
    uniforms = clear_uniforms(model, features, domain, uniforms, temperature)
    routes = ["eager", "numba"] + ["cpp"] * HAS_COMPILER
    drawn = [generate(model, features, domain, 700, temperature, uniforms, route=route) for route in routes]
    assert len(np.unique(drawn[0])) > 30  # otherwise agreeing proves little
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("route", ROUTES)
def test_draws_are_the_inverse_cdf_of_the_softmax(route, temperature):
    """Against numpy's float64 softmax of the forward's logits, but for draws within rounding of an edge."""
    model = network()
    _, features, domain, uniforms = inputs(2, 500)
    drawn = generate(model, features, domain, 500, temperature, uniforms, route=route)
    logits = teacher_forced(model, drawn, features, domain).astype(np.float64) / temperature
    p = np.exp(logits - logits.max(-1, keepdims=True))
    cdf = np.cumsum(p / p.sum(-1, keepdims=True), -1)
    expected = (cdf[..., :-1] <= uniforms[..., None]).sum(-1)
    certain = np.abs(cdf - uniforms[..., None]).min(-1) > 1e-5
    assert certain.mean() > 0.95
    np.testing.assert_array_equal(drawn[certain], expected[certain])


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, BLOCK + 79), max_size=5), seeded=st.booleans())
def test_streaming_in_any_chunks_equals_one_go(cuts, seeded):
    model, N = network(3), BLOCK + 80
    _, features, domain, uniforms = inputs(2, N)
    edges = sorted({0, N, *cuts})
    whole = generate(model, features, domain, N, uniforms=None if seeded else uniforms, seed=5, route="numba")
    state = State(model, 2, seed=5)
    parts = [
        generate(
            model,
            features,
            domain,
            b - a,
            uniforms=None if seeded else uniforms[:, a:b],
            route="numba",
            state=state,
        )
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


@pytest.mark.parametrize(
    "route", ["numba", pytest.param("cpp", marks=pytest.mark.skipif(not HAS_COMPILER, reason="needs g++"))]
)
def test_threads_and_companions_do_not_change_a_stream(route):
    model = network()
    _, features, domain, uniforms = inputs(11, 300)
    alone = np.concatenate(
        [
            generate(model, features[i : i + 1], domain[i], 300, 1.0, uniforms[i : i + 1], route=route)
            for i in range(11)
        ]
    )
    for threads in (1, 3):
        np.testing.assert_array_equal(
            generate(model, features, domain, 300, 1.0, uniforms, route=route, threads=threads), alone
        )


@pytest.mark.parametrize("route", ROUTES)
def test_streaming_is_the_same_on_every_route(route):
    """Chunks that begin and end anywhere, across a block of conditioning, several streams, two threads."""
    model, N = network(3), BLOCK + 40
    _, features, domain, uniforms = inputs(5, N)
    uniforms = clear_uniforms(model, features, domain, uniforms, 0.8)
    whole = generate(model, features, domain, N, 0.8, uniforms, route="numba")
    state = State(model, 5)
    edges = [0, 1, 17, 350, BLOCK - 1, BLOCK + 5, N]
    parts = [
        generate(model, features, domain, b - a, 0.8, uniforms[:, a:b], route=route, threads=2, state=state)
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


def test_seed_fixes_the_draws_and_conditioning_moves_them():
    model = network()
    _, features, _, _ = inputs(1, 400)
    base = generate(model, features, 0, 400, seed=1)
    assert base.dtype == np.uint8 and base.shape == (1, 400)
    np.testing.assert_array_equal(generate(model, torch.from_numpy(features), 0, 400, seed=1), base)
    for other in (
        generate(model, features, 0, 400, seed=2),
        generate(model, features, 1, 400, seed=1),
        generate(model, features[..., ::-1].copy(), 0, 400, seed=1),
    ):
        assert (other != base).mean() > 0.2


def test_default_length_is_that_of_the_features():
    _, features, _, _ = inputs(1, 10 * HOP)
    drawn = generate(network(), features, 0, seed=0)
    assert drawn.shape == (1, 9 * HOP)  # frames 0..9 are centred on samples 0..9 hop


@pytest.mark.skipif(not HAS_COMPILER, reason="needs g++")
@pytest.mark.parametrize("failure", ["no compiler", "does not compile", "wrong result", "no place"])
def test_cpp_never_fails_and_is_never_silently_wrong(failure, tmp_path, monkeypatch, capfd):
    source = cpp_kernel.SOURCE.read_text()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if failure == "no compiler":
        monkeypatch.setattr(cpp_kernel.shutil, "which", lambda name: None)
    elif failure == "no place":
        (tmp_path / "retimbre").write_text("a file where the folder should be")
    else:
        broken = source.replace(
            "a * (c + d)", "a * (c + d * 1.01f)" if failure == "wrong result" else "a * (c + oops)"
        )
        assert broken != source
        (tmp_path / "wavenet.cpp").write_text(broken)
        monkeypatch.setattr(cpp_kernel, "SOURCE", tmp_path / "wavenet.cpp")
    forget_library()
    model = network()
    _, features, domain, uniforms = inputs(2, 60)
    try:
        drawn = [generate(model, features, domain, 60, 1.0, uniforms, route="cpp") for _ in range(2)]
    finally:
        forget_library()
    np.testing.assert_array_equal(
        drawn[0], generate(model, features, domain, 60, 1.0, uniforms, route="numba")
    )
    said = capfd.readouterr().err
    assert said.count("The C++ generation kernel is not used") == 1
    assert not list(tmp_path.glob("retimbre/tmp*"))


@pytest.mark.skipif(not HAS_COMPILER, reason="needs g++")
def test_cpp_is_really_used_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget_library()
    try:
        assert cpp_kernel.available()
        built = list(tmp_path.glob("retimbre/wavenet-*.so"))
        assert len(built) == 1
        before = built[0].stat().st_mtime_ns
        forget_library()
        assert cpp_kernel.available()
        assert built[0].stat().st_mtime_ns == before
    finally:
        forget_library()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"temperature": 0.0}, "temperature of the sampling must be greater than 0"),
        ({"temperature": float("nan")}, "temperature of the sampling"),
        ({"route": "fast"}, "auto or one of numba, cpp, eager, cuda, not fast"),
        ({"threads": 0}, "threads"),
        ({"route": "cuda"}, "needs a model on a GPU"),
        ({"length": 0}, "not 0"),
        ({"length": 1000}, "cover 1 to 64 samples, not 1000"),
        ({"domain": 2}, "domains 0 to 1"),
        ({"features": np.zeros((1, 5, 4), np.float32)}, r"\(B, 6, T\)"),
        ({"features": np.zeros((6, 4), np.float32)}, r"\(B, 6, T\)"),
        ({"uniforms": np.zeros((2, 64), np.float32)}, r"uniforms must have the shape \(1, 64\)"),
        ({"state": 3}, "holds 3 streams"),
    ],
)
def test_refuses_in_one_sentence(change, says):
    model = network()
    given_ = {"features": np.zeros((1, 6, 4), np.float32), "domain": 0, "length": 64, **change}
    if "state" in given_:
        given_["state"] = State(model, given_["state"])
    with pytest.raises(RetimbreError, match=says):
        generate(model, **given_)


# ---------------------------------------------------------------- options


def routes_of(model: WaveNet) -> list[str]:
    return ["eager", "numba"] + ["cpp"] * (HAS_COMPILER and model.config.output == "softmax")


@each_option
def test_cached_loop_equals_the_parallel_forward_with_every_option(changes):
    model, N = network(**changes), BLOCK + 150
    codes, features, domain, _ = inputs(3, N, model.config.codes)
    reference = teacher_forced(model, codes, features, domain)
    assert reference.std() > 1
    for route in routes_of(model):
        assert np.abs(forced_logits(model, features, domain, codes, route=route) - reference).max() <= 1e-4, (
            route
        )


@each_option
def test_all_routes_draw_the_same_samples_with_every_option(changes, monkeypatch):
    """A softmax's exactly; values of a mixture on the edge between two codes may fall to either side."""
    model = network(**changes)
    _, features, domain, uniforms = inputs(3, 700)
    if model.config.output == "softmax":
        uniforms = clear_uniforms(model, features, domain, uniforms, 0.8)
        drawn = [
            generate(model, features, domain, 700, 0.8, uniforms, route=route) for route in routes_of(model)
        ]
    else:
        N = 120
        drawn = [
            generate(model, features, domain, N, 0.8, uniforms[:, :N], route=route).astype(int)
            for route in routes_of(model)
        ]
        drawn.append(
            generate(
                model, features, domain, N, 0.8, uniforms[:, :N], route=fixed_buffers(monkeypatch)
            ).astype(int)
        )
    assert len(np.unique(drawn[0])) > 30
    for other in drawn[1:]:
        np.testing.assert_allclose(other, drawn[0], atol=0 if model.config.output == "softmax" else 2)


@each_option
def test_chunks_and_branches_go_on_exactly_with_every_option(changes):
    """Chunks end within segments; a taken stream goes on as the original (16-bit codes up to rounding)."""
    model, N = network(**changes), 150
    _, features, domain, uniforms = inputs(3, N)
    domain = np.zeros(3, int)
    features[:] = features[0]
    atol = 0 if model.config.output == "softmax" else 4

    def go_on(start: int, stop: int, state: State, rows: list[int]) -> np.ndarray:
        drawn = generate(
            model,
            features[rows],
            domain[rows],
            stop - start,
            1.0,
            uniforms[rows, start:stop],
            route="numba",
            state=state,
        )
        return drawn.astype(int)

    everyone = [0, 1, 2]
    whole = go_on(0, N, State(model, 3), everyone)
    state, edges = State(model, 3), [0, 1, 18, 70, 75]
    parts = [go_on(a, b, state, everyone) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole[:, :75], atol=atol)
    np.testing.assert_allclose(go_on(75, N, state.take(np.arange(3)), everyone), whole[:, 75:], atol=atol)
    rows = [2, 2, 0, 1]
    np.testing.assert_allclose(go_on(75, N, state.take(np.array(rows)), rows), whole[rows, 75:], atol=atol)
    moved_by_neither = go_on(75, N, state, everyone)
    np.testing.assert_allclose(moved_by_neither, whole[:, 75:], atol=atol)


def test_scalar_input_with_a_context_is_really_heard():
    """Other continuations of the context alone change what is drawn: the cached stack is not a constant."""
    model = network(layers=1, context_layers=3)
    _, features, domain, uniforms = inputs(1, 200)
    codes = np.full((1, 100), 128, np.uint8)
    moved = codes.copy()
    moved[:, 60:80] = (
        250  # beyond the two samples of the layer, within the stack's eight segments of four samples
    )
    drawn = []
    for past in (codes, moved):
        state = State(model, 1)
        forced_logits(model, features, domain, past, state=state)
        drawn.append(forced_logits(model, features, domain, codes[:, :4], state=state))
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


def test_the_cpp_route_refuses_a_mixture():
    model = network(input="scalar", output="mol")
    _, features, domain, uniforms = inputs(1, 20)
    with pytest.raises(RetimbreError, match="use numba for output mol"):
        generate(model, features, domain, 20, 1.0, uniforms, route="cpp")


# ---------------------------------------------------------------- the graphed step


def fixed_buffers(monkeypatch) -> str:
    """A route: the step of the CUDA graph with its fixed buffers, not captured, on the CPU.

    Chunks of its buffers are short.
    """
    monkeypatch.setattr(cuda, "CHUNK", 100)

    def advance(job, threads, state, device):
        if not state._graphed:
            step = EagerStep(job.packed, device)
            state._graphed = cuda.GraphedStep(step, state.streams, BLOCK_FRAMES * SEGMENTS_PER_FRAME)
        state._graphed.run_job(job)

    monkeypatch.setitem(sampler.ROUTES, "buffers", advance)
    return "buffers"


@pytest.mark.parametrize("kernel", [2, 3])
def test_step_with_fixed_buffers_equals_the_eager_step(kernel, monkeypatch):
    model, N, route = network(kernel), BLOCK + 150, fixed_buffers(monkeypatch)
    codes, features, domain, uniforms = inputs(3, N)
    expected = forced_logits(model, features, domain, codes, route="eager")
    assert np.abs(forced_logits(model, features, domain, codes, route=route) - expected).max() <= 1e-5
    drawn = generate(model, features, domain, N, 0.7, uniforms, route="eager")
    np.testing.assert_array_equal(generate(model, features, domain, N, 0.7, uniforms, route=route), drawn)
    state = State(model, 3)
    parts = [
        generate(model, features, domain, n, 0.7, uniforms[:, a : a + n], route=route, state=state)
        for a, n in ((0, 333), (333, 400))
    ]
    np.testing.assert_array_equal(np.concatenate(parts, 1), drawn[:, :733])


def test_what_cannot_be_recorded_is_run_eagerly(monkeypatch, capfd):
    """This torch has no GPU: the recording fails, and is not tried again."""
    if torch.cuda.is_available():
        pytest.skip("the step is recorded here")
    monkeypatch.setitem(sampler.ROUTES, "tried", sampler.ROUTES["cuda"])
    model = network()
    state = State(model, 2)
    _, features, domain, uniforms = inputs(2, 60)
    halves = [
        generate(model, features, domain, 30, 1.0, part, route="tried", state=state)
        for part in (uniforms[:, :30], uniforms[:, 30:])
    ]
    eager = generate(model, features, domain, 60, 1.0, uniforms, route="eager")
    np.testing.assert_array_equal(np.concatenate(halves, 1), eager)
    assert capfd.readouterr().err.count("eager takes over") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kernel", [2, 3])
def test_cuda_graph_equals_eager_on_the_gpu(kernel):
    model, N = network(kernel).cuda(), 700
    codes, features, domain, uniforms = inputs(3, N)
    expected = forced_logits(model, features, domain, codes, route="eager")
    assert np.abs(forced_logits(model, features, domain, codes, route="cuda") - expected).max() <= 1e-4
    uniforms = clear_uniforms(model, features, domain, uniforms, 0.7)
    drawn = generate(model, features, domain, N, 0.7, uniforms, route="eager")
    state = State(model, 3)
    parts = [
        generate(model, features, domain, n, 0.7, uniforms[:, a : a + n], state=state)
        for a, n in ((0, 333), (333, 367))
    ]
    assert state._graphed, "the step was not captured"
    np.testing.assert_array_equal(np.concatenate(parts, 1), drawn)


# ---------------------------------------------------------------- what the C++ kernel reads


def test_stream_holds_every_used_weight_once_in_order():
    """Panels of 128, 64, 32 and 16 columns, row after row; the last layer's residual columns are left out."""
    packed = pack(network(residual_channels=70, skip_channels=100))  # padded to 80 and 112
    expected = []
    for matrix in packed.products():
        rest, widths = matrix.shape[1], []
        for width in (128, 64, 32, 16):
            while rest >= width:
                widths.append(width)
                rest -= width
        assert rest == 0
        expected += [part.flatten() for part in matrix.split(widths, 1)]
    assert len({len(part) for part in expected}) > 4
    np.testing.assert_array_equal(packed.stream, torch.cat(expected).numpy())
    assert packed.stream.ctypes.data % 64 == 0
