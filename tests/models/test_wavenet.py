import math

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from hypothesis import given, settings
from hypothesis import strategies as st

from retimbre.errors import RetimbreError
from retimbre.models.wavenet import CONTEXT_FRAMES, SEGMENTS_PER_FRAME, WaveNet, WaveNetConfig, shift_right

SMALL = {"feature_bins": 6, "hop_length": 16, "n_domains": 2, "layers": 5, "layers_per_stack": 3, "residual_channels": 8}
SMALL |= {"skip_channels": 12, "conditioning_channels": 10}


def small(kernel: int = 2, **changes) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(WaveNetConfig(**{**SMALL, "kernel": kernel, **changes})).eval()


def batch(model: WaveNet, B: int, N: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    T = N // model.config.hop_length + 1
    codes = torch.randint(0, 256, (B, N), generator=generator)
    return codes, torch.randn(B, model.config.feature_bins, T, generator=generator), torch.arange(B) % model.config.n_domains


def bits(logits: torch.Tensor, codes: torch.Tensor) -> float:
    return nnf.cross_entropy(logits.reshape(-1, 256), codes.reshape(-1)).item() / math.log(2)


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_sample_moves_no_logits_up_to_its_own(kernel):
    model = small(kernel)
    codes, features, domain = batch(model, 1, 100)
    moved = codes.clone()
    moved[0, 40] = (moved[0, 40] + 100) % 256
    with torch.no_grad():
        difference = (model(shift_right(codes), features, domain) - model(shift_right(moved), features, domain)).abs().amax(-1)[0]
    assert difference[:41].max() == 0
    assert difference[41] > 0


@pytest.mark.parametrize("kernel", [2, 3])
def test_receptive_field_is_exactly_as_computed(kernel):
    model = small(kernel)
    field = model.receptive_field()
    assert field == 1 + (kernel - 1) * (1 + 2 + 4 + 1 + 2)
    N = 96
    codes, features, domain = batch(model, 1, N)
    first_input = N - field  # the oldest input that reaches the last logits
    for where, reaches in ((first_input, True), (first_input - 1, False)):
        moved = codes.clone()
        moved[0, where] = (moved[0, where] + 100) % 256
        with torch.no_grad():
            difference = (model(codes, features, domain) - model(moved, features, domain))[0, -1].abs().max()
        assert (difference > 0) == reaches


def test_default_has_the_papers_field_and_the_prototypes_size():
    model = WaveNet(WaveNetConfig(feature_bins=84, hop_length=256, n_domains=2))
    assert model.receptive_field() == 1024
    assert 225_000 < sum(p.numel() for p in model.parameters()) < 240_000


def test_features_and_domain_change_the_logits():
    model = small()
    codes, features, domain = batch(model, 2, 64)
    with torch.no_grad():
        base = model(codes, features, domain)
        assert (model(codes, features + 1, domain) - base).abs().max() > 1e-3
        assert (model(codes, features, 1 - domain) - base).abs().max() > 1e-3


def test_a_frame_reaches_only_the_samples_near_it():
    """Frame t acts on samples (t - 1 - context) hop to (t + 1 + context) hop; further it may not (times of onsets are kept)."""
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


def test_segments_interpolate_linearly_between_frames():
    """With identity-like convolutions the conditioning is numpy's own linear interpolation at segment middles."""
    model = small(conditioning_channels=6)
    with torch.no_grad():
        for convolution, middle in ((model.conditioning_in, 2), (model.conditioning_out, 1)):
            convolution.weight.zero_()
            convolution.bias.zero_()
            convolution.weight[:, :, middle] = torch.eye(6)
        model.domain_embedding.weight.zero_()
    features = 100 + 10 * torch.randn(1, 6, 9).abs()  # GELU is the identity up there
    with torch.no_grad():
        h = model.segments(features, torch.tensor([0]))[0].numpy()
    middles = (np.arange(9 * SEGMENTS_PER_FRAME) + 0.5) / SEGMENTS_PER_FRAME
    for f in range(6):
        np.testing.assert_allclose(h[:, f], np.interp(middles, np.arange(9), features[0, f].numpy()), rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 12), data=st.data())
def test_segments_do_not_depend_on_the_cut(T, data):
    model = small()
    features, domain = torch.randn(2, 6, T), torch.tensor([0, 1])
    start = data.draw(st.integers(0, SEGMENTS_PER_FRAME * T - 1))
    stop = data.draw(st.integers(start + 1, SEGMENTS_PER_FRAME * T))
    with torch.no_grad():
        whole, part = model.segments(features, domain), model.segments(features, domain, start, stop)
    torch.testing.assert_close(part, whole[:, start:stop], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("N", [1, 3, 16, 50])
def test_any_length_is_the_beginning_of_a_longer_one(N):
    model = small()
    codes, features, domain = batch(model, 2, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(codes[:, :N], features, domain), model(codes, features, domain)[:, :N], atol=1e-5, rtol=1e-5)


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
    drawn = torch.multinomial(histogram, 2000, replacement=True, generator=torch.Generator().manual_seed(0)).view(2, 1000)
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


def test_overfits_one_periodic_clip():
    model = small(layers=6, layers_per_stack=6, residual_channels=16, skip_channels=32)
    n = torch.arange(512)
    wave = torch.stack([torch.sin(2 * math.pi * n / 20), torch.sin(2 * math.pi * n / 32)])
    codes = ((0.6 * wave + 1) * 127.5).round().long()
    features, domain = torch.randn(2, 6, 33), torch.tensor([0, 1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    for _ in range(80):
        loss = nnf.cross_entropy(model(shift_right(codes), features, domain).flatten(0, 1), codes.flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    assert loss.item() / math.log(2) < 1.5


def test_every_parameter_learns():
    model = small()
    codes, features, domain = batch(model, 2, 64)
    model(shift_right(codes), features, domain).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"kernel": 4}, "vocoder.wavenet_kernel must be 2 or 3, not 4"),
        ({"layers": 0}, "vocoder.wavenet_layers"),
        ({"layers_per_stack": 15}, "vocoder.wavenet_layers_per_stack"),
        ({"residual_channels": 2}, "vocoder.wavenet_residual_channels"),
        ({"hop_length": 250}, "features.hop_length must be a multiple of 4"),
        ({"n_domains": 0}, "domain"),
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
