import math

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st

from retimbre.audio.companding import mu_law_encode, pcm_encode
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet import mixture
from retimbre.nn.wavenet.network import (
    CONTEXT_FRAMES,
    SEGMENTS_PER_FRAME,
    WaveNet,
    WaveNetConfig,
    shift_right,
)

SMALL = {
    "feature_bins": 6,
    "hop_length": 16,
    "n_domains": 2,
    "layers": 5,
    "layers_per_stack": 3,
    "residual_channels": 8,
}
SMALL |= {"skip_channels": 12, "conditioning_channels": 10}
OPTIONS = {
    "kernel 2": {},
    "kernel 3": {"kernel": 3},
    "scalar": {"input": "scalar"},
    "mol": {"input": "scalar", "output": "mol", "mixtures": 3},
    "nearest": {"upsampling": "nearest"},
    "transposed": {"upsampling": "transposed"},
    "context": {"context_layers": 3, "context_channels": 4},
    "context, kernel 3, mol": {"context_layers": 2, "kernel": 3, "input": "scalar", "output": "mol"},
}
each_option = pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)


def small(**changes) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(WaveNetConfig(**{**SMALL, **changes})).eval()


def batch(model: WaveNet, B: int, N: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    T = N // model.config.hop_length + 1
    codes = torch.randint(0, model.config.codes, (B, N), generator=generator)
    return (
        codes,
        torch.randn(B, model.config.feature_bins, T, generator=generator),
        torch.arange(B) % model.config.n_domains,
    )


def bits(logits: torch.Tensor, codes: torch.Tensor) -> float:
    return nnf.cross_entropy(logits.reshape(-1, 256), codes.reshape(-1)).item() / math.log(2)


@each_option
def test_a_sample_moves_no_output_up_to_its_own(changes):
    model = small(**changes)
    codes, features, domain = batch(model, 1, 100)
    moved = codes.clone()
    moved[0, 40] = (moved[0, 40] + 100) % model.config.codes
    with torch.no_grad():
        a, b = (model(shift_right(c, model.config.silence), features, domain) for c in (codes, moved))
    difference = (a - b).abs().amax(-1)[0]
    assert difference[:41].max() == 0
    assert difference[41] > 0


@each_option
def test_receptive_field_is_exactly_as_computed(changes):
    """By the gradient: the oldest input that reaches the last sample of a segment, and none before it."""
    model = small(**changes)
    field, c = model.config.receptive_field(), model.config
    layers, first_layer = (c.kernel - 1) * (1 + 2 + 4 + 1 + 2), c.kernel - 1
    assert field == (
        max(1 + layers, layers - first_layer + (2**c.context_layers + 1) * 4)
        if c.context_layers
        else 1 + layers
    )
    n = furthest_seeing(model)
    codes, features, domain = batch(model, 1, n + 1)
    rows = model.input_rows(codes).detach().requires_grad_()
    amplitudes = model.amplitudes(codes).requires_grad_()
    model.input_rows = lambda codes: rows_to(rows, codes)
    model.amplitudes = lambda codes: amplitudes[:, : codes.shape[1]]
    model(codes, features, domain)[0, n].square().sum().backward()
    reached = rows.grad.abs().sum(-1)[0] + (0 if amplitudes.grad is None else amplitudes.grad.abs()[0])
    assert reached[n + 1 - field] > 0
    assert (reached[: n + 1 - field] == 0).all()


def rows_to(rows: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return nnf.pad(rows, (0, 0, 0, codes.shape[1] - rows.shape[1]))


def furthest_seeing(model: WaveNet) -> int:
    """A sample of those that see furthest.

    The first layer's oldest output that it depends on is the last of its segment.
    """
    c = model.config
    return next(
        n
        for n in range(92, 100)
        if (n - (c.kernel - 1) * sum(c.dilations[1:])) % c.hold_length == c.hold_length - 1
    )


@each_option
def test_a_code_beyond_the_receptive_field_does_not_matter(changes):
    model = small(**changes)
    n = furthest_seeing(model)
    codes, features, domain = batch(model, 1, n + 1)
    oldest = n + 1 - model.config.receptive_field()
    for where, reaches in ((oldest, True), (oldest - 1, False)):
        moved = codes.clone()
        moved[0, where] = (moved[0, where] + model.config.codes // 2 - 20) % model.config.codes
        with torch.no_grad():
            difference = (model(codes, features, domain) - model(moved, features, domain))[0, -1].abs().max()
        assert (difference > 0) == reaches


def test_default_has_the_papers_field_and_the_prototypes_size():
    model = WaveNet(WaveNetConfig(feature_bins=84, hop_length=256, n_domains=2))
    assert model.config.receptive_field() == 1024
    assert 225_000 < sum(p.numel() for p in model.parameters()) < 240_000


def test_features_and_domain_change_the_logits():
    model = small()
    codes, features, domain = batch(model, 2, 64)
    with torch.no_grad():
        base = model(codes, features, domain)
        assert (model(codes, features + 1, domain) - base).abs().max() > 1e-3
        assert (model(codes, features, 1 - domain) - base).abs().max() > 1e-3


def test_a_frame_reaches_only_the_samples_near_it():
    """Frame t acts on samples (t - 1 - context) hop to (t + 1 + context) hop: times of onsets are kept."""
    model = small(layers=1)  # one layer: the audio path carries nothing further than two samples
    hop = model.config.hop_length
    codes, features, domain = batch(model, 1, 20 * hop)
    moved = features.clone()
    moved[..., 10] += 3
    with torch.no_grad():
        difference = (model(codes, features, domain) - model(codes, moved, domain)).abs().amax((0, 2))
    changed = difference.nonzero()[:, 0]
    assert changed.min() >= (10 - 1 - CONTEXT_FRAMES) * hop
    assert changed.max() < (10 + 1 + CONTEXT_FRAMES) * hop
    centre = (difference * torch.arange(len(difference))).sum() / difference.sum()
    assert abs(centre - 10 * hop) < hop


def plain_conditioning(**changes) -> WaveNet:
    """The two convolutions pass large features on unchanged."""
    model = small(conditioning_channels=6, **changes)
    with torch.no_grad():
        for convolution, middle in ((model.conditioning_in, 2), (model.conditioning_out, 1)):
            convolution.weight.zero_()
            convolution.bias.zero_()
            convolution.weight[:, :, middle] = torch.eye(6)
        model.domain_embedding.weight.zero_()
    return model


def test_segments_interpolate_linearly_between_frames():
    """Numpy's own linear interpolation at segment middles."""
    features = 100 + 10 * torch.randn(1, 6, 9).abs()  # GELU is the identity up there
    with torch.no_grad():
        h = plain_conditioning().segments(features, torch.tensor([0]))[0].numpy()
    middles = (np.arange(9 * SEGMENTS_PER_FRAME) + 0.5) / SEGMENTS_PER_FRAME
    for f in range(6):
        np.testing.assert_allclose(
            h[:, f], np.interp(middles, np.arange(9), features[0, f].numpy()), rtol=1e-5
        )


def test_nearest_repeats_the_nearest_frame():
    features = 100 + torch.arange(9.0).repeat(1, 6, 1)
    with torch.no_grad():
        h = plain_conditioning(upsampling="nearest").segments(features, torch.tensor([0]))[0, :, 0]
    frames = np.repeat(np.arange(10), SEGMENTS_PER_FRAME)[2:-2]  # frame t holds from t - 1/2 to t + 1/2
    np.testing.assert_array_equal(h.numpy() - 100, frames.clip(max=8))


def test_transposed_starts_as_the_linear_interpolation_and_learns():
    features = 100 + 10 * torch.randn(2, 6, 9).abs()
    domain = torch.tensor([0, 1])
    learned, linear = plain_conditioning(upsampling="transposed"), plain_conditioning()
    torch.testing.assert_close(learned.segments(features, domain), linear.segments(features, domain))
    learned.segments(features, domain).square().sum().backward()
    assert learned.upsampling.convolution.weight.grad.abs().min() > 0


@settings(max_examples=40, deadline=None)
@given(T=st.integers(1, 12), upsampling=st.sampled_from(["nearest", "linear", "transposed"]), data=st.data())
def test_segments_do_not_depend_on_the_cut(T, upsampling, data):
    model = small(upsampling=upsampling)
    features, domain = torch.randn(2, 6, T), torch.tensor([0, 1])
    start = data.draw(st.integers(0, SEGMENTS_PER_FRAME * T - 1))
    stop = data.draw(st.integers(start + 1, SEGMENTS_PER_FRAME * T))
    with torch.no_grad():
        whole, part = model.segments(features, domain), model.segments(features, domain, start, stop)
    assert whole.shape == (2, SEGMENTS_PER_FRAME * T, 10)
    torch.testing.assert_close(part, whole[:, start:stop], atol=1e-5, rtol=1e-5)


def test_a_context_stack_hears_further_than_the_layers():
    """It is heard by all samples of a segment, from the first one after the segment that it has seen."""
    model = small(layers=1, context_layers=4)
    hold = model.config.hold_length
    codes, features, domain = batch(model, 1, 30 * hold)
    moved = codes.clone()
    moved[0, 5 * hold] = (moved[0, 5 * hold] + 100) % 256  # the first of segment 5's inputs
    with torch.no_grad():
        changed = (model(codes, features, domain) - model(moved, features, domain)).abs().amax(-1)[0].view(
            -1, hold
        ) > 0
    assert not changed[:5].any()
    assert changed[5].tolist() == [True, True, False, False]  # by the layer itself, two samples
    assert changed[6 : 6 + 16].all()
    assert not changed[6 + 16 :].any()


@pytest.mark.parametrize("N", [1, 3, 16, 50])
@each_option
def test_any_length_is_the_beginning_of_a_longer_one(N, changes):
    model = small(**changes)
    codes, features, domain = batch(model, 2, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            model(codes[:, :N], features, domain), model(codes, features, domain)[:, :N], atol=1e-5, rtol=1e-5
        )


def test_statistics_are_saved_and_used():
    mean, std = torch.full((6,), -40.0), torch.full((6,), 12.0)
    torch.manual_seed(0)
    with_statistics = WaveNet(WaveNetConfig(**SMALL), mean, std)
    plain = WaveNet(WaveNetConfig(**SMALL))
    codes, features, domain = batch(plain, 1, 32)
    plain.load_state_dict(with_statistics.state_dict())  # buffers travel with the weights
    with torch.no_grad():
        a, b = with_statistics(codes, features, domain), plain(codes, features, domain)
        plain.feature_mean_db.zero_()
        plain.feature_std_db.fill_(1)
        c = plain(codes, (features - mean[0]) / std[0], domain)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(a, c, atol=1e-5, rtol=1e-5)


def test_untrained_is_near_uniform_and_near_a_given_histogram():
    codes, features, domain = batch(small(), 2, 400)
    with torch.no_grad():
        assert 7.9 < bits(small()(shift_right(codes), features, domain), codes) < 8.3
    histogram = torch.exp(-((torch.arange(256) - 128) ** 2) / 200) * 1e4
    drawn = torch.multinomial(
        histogram, 2000, replacement=True, generator=torch.Generator().manual_seed(0)
    ).view(2, 1000)
    p = histogram / histogram.sum()
    entropy = -(p * torch.log2(p.clamp(min=1e-12))).sum().item()
    torch.manual_seed(0)
    model = WaveNet(WaveNetConfig(**SMALL), code_histogram=histogram)
    with torch.no_grad():
        assert bits(model(shift_right(drawn), torch.randn(2, 6, 63), domain), drawn) < entropy + 0.4


def test_starts_smooth_over_the_code_axis():
    model = small()
    for rows in (model.embedding.weight, model.head_output.weight):
        steps = (rows[1:] - rows[:-1]).norm(dim=1).mean()
        strangers = (rows - rows.roll(100, 0)).norm(dim=1).mean()
        assert steps < 0.25 * strangers


def nll_bits(
    model: WaveNet, codes: torch.Tensor, features: torch.Tensor, domain: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Own loss in nats, and the bits per sample of 256 mu-law codes."""
    outputs = model(shift_right(codes, model.config.silence), features, domain)
    if model.config.output == "softmax":
        loss = nnf.cross_entropy(outputs.flatten(0, 1), codes.flatten())
        return loss, loss.item() / math.log(2)
    return -mixture.log_mass(outputs, *mixture.pcm_cell(codes)).mean(), -mixture.log_mass(
        outputs.detach(), *mixture.code_cells(codes)
    ).mean().item() / math.log(2)


@pytest.mark.parametrize("name", ["kernel 2", "scalar", "context", "mol"])
def test_overfits_one_clip(name):
    """Of two chords, to less than a bit per sample; a mixture, which has 16-bit values to find, half way."""
    model = small(layers=6, layers_per_stack=6, residual_channels=16, skip_channels=32, **OPTIONS[name])
    n = torch.arange(512)
    wave = torch.stack([torch.sin(2 * math.pi * n / 20), torch.sin(2 * math.pi * n / 32)])
    wave = 0.6 * wave + 0.2 * torch.sin(2 * math.pi * n / 16)
    codes = pcm_encode(wave * 0.5) if name == "mol" else mu_law_encode(wave * 0.5)
    features, domain = torch.randn(2, 6, 33), torch.tensor([0, 1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    for _ in range(150):
        loss, bits_of_codes = nll_bits(model, codes, features, domain)
        if bits_of_codes < (4.5 if name == "mol" else 1.0):
            return
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    pytest.fail(f"{bits_of_codes:.2f} bits per sample are left")


@pytest.mark.parametrize("changes", [{}, {"input": "scalar"}, {"context_layers": 3}])
def test_noise_costs_eight_bits(changes):
    """Uniform codes cannot be predicted: what a network learns on some does not help on others."""
    model = small(**changes)
    generator = torch.Generator().manual_seed(2)
    features, domain = torch.randn(2, 6, 33), torch.tensor([0, 1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(20):
        codes = torch.randint(0, 256, (2, 512), generator=generator)
        loss, _ = nll_bits(model, codes, features, domain)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fresh = torch.randint(0, 256, (2, 512), generator=generator)
    with torch.no_grad():
        assert 7.98 < nll_bits(model, fresh, features, domain)[1] < 8.25


@each_option
def test_every_parameter_learns(changes):
    model = small(**changes)
    codes, features, domain = batch(model, 2, 64)
    model(shift_right(codes, model.config.silence), features, domain).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_options_leave_the_default_as_it_is():
    """The same weights from the same seed, under the same names: stored networks stay readable."""
    plain = small()
    assert {"upsampling", "context"}.isdisjoint(name.split(".")[0] for name in plain.state_dict())
    for changes in ({"upsampling": "transposed"}, {"context_layers": 2}):
        other = small(**changes).state_dict()
        assert all(torch.equal(value, other[name]) for name, value in plain.state_dict().items())


def test_inputs_at_sample_rate_move_no_earlier_sample():
    """Zeros change nothing where an excitation is added; what joins the skips moves its own sample alone."""
    model = small()
    codes, features, domain = batch(model, 1, 64)
    M, c = 64 // model.config.hold_length, model.config
    gates = model.conditioning_projection(model.segments(features, domain, 0, M)).view(1, M, c.layers, -1)
    rows = model.input_rows(codes)
    base = model(codes, features, domain)
    torch.testing.assert_close(model.predict(rows, gates, torch.zeros(1, 64, c.skip_channels)), base)
    one = torch.zeros(1, 64, 1)
    one[:, 30] = 1
    for moved, later in (
        (model.predict(rows + one, gates), True),
        (model.predict(rows, gates, one.expand(1, 64, c.skip_channels)), False),
    ):
        difference = (moved - base).abs().amax(-1)[0]
        assert difference[:30].max() == 0 < difference[30]
        assert (difference[31:].max() > 0) == later


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"kernel": 4}, "kernel must be 2 or 3, not 4"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"layers_per_stack": 16}, "layers_per_stack must be at most 15, not 16"),
        ({"residual_channels": 2}, "residual_channels must be at least 4"),
        ({"hop_length": 250}, "features.hop_length must be a multiple of 4"),
        ({"n_domains": 0}, "domain"),
        ({"input": "words"}, "input must be codes or scalar, not words"),
        ({"output": "mol"}, "output mol needs the input scalar"),
        ({"upsampling": "cubic"}, "upsampling must be nearest or linear or transposed"),
        ({"context_layers": 15}, "context_layers must be at most 14"),
        ({"mixtures": 0}, "mixtures must be at least 1"),
    ],
)
def test_refuses_sizes_that_cannot_work(change, names):
    with pytest.raises(RetimbreError, match=names):
        WaveNetConfig(**{**SMALL, **change})


def test_refuses_features_that_do_not_fit():
    model = small()
    codes, features, domain = batch(model, 1, 64)
    with pytest.raises(RetimbreError, match="cover 1 to 48 samples, not 64"):
        model(codes, features[..., :3], domain)
    with pytest.raises(RetimbreError, match=r"\(B, 6, T\)"):
        model(codes, features[:, :5], domain)
    with pytest.raises(RetimbreError, match="must have 6 values"):
        WaveNet(model.config, torch.zeros(5), torch.ones(5))
