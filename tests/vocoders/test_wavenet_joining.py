"""Joins of two draws: after a warm-up the later one is as good as the whole; the fade cannot be measured."""

import numpy as np
import torch

from retimbre.nn.generation.sampler import forced_logits
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig, shift_right
from retimbre.vocoders.wavenet.joining import FADE, SEARCH, crossing, warm_up_frames

HOP = 16


def test_after_the_warm_up_a_later_draw_is_as_good_as_the_whole():
    """The cached loop from a later frame on, fed the same codes, comes to the whole signal's logits."""
    torch.manual_seed(0)
    sizes = {"layers": 7, "layers_per_stack": 4, "residual_channels": 20, "skip_channels": 28}
    model = WaveNet(WaveNetConfig(6, HOP, 2, conditioning_channels=10, **sizes)).eval()
    random, T, start = np.random.default_rng(0), 120, 40
    codes = random.integers(0, 256, (1, T * HOP), dtype=np.uint8)
    features = torch.from_numpy(random.normal(0, 1, (1, 6, T)).astype(np.float32))
    with torch.no_grad():
        whole = model(
            shift_right(torch.from_numpy(codes).long()), features, torch.zeros(1, dtype=torch.long)
        ).numpy()
    later = forced_logits(model, features[..., start:], 0, codes[:, start * HOP :])
    first = warm_up_frames(model.config)
    assert np.abs(later[:, first * HOP :] - whole[:, (start + first) * HOP :]).max() <= 1e-4
    assert np.abs(later[:, :HOP] - whole[:, start * HOP : (start + 1) * HOP]).max() > 1e-2  # it is needed


def test_equal_draws_are_not_changed():
    x = np.random.default_rng(0).standard_normal(SEARCH).astype(np.float32)
    at, faded = crossing(x, x)
    np.testing.assert_allclose(faded, x[at : at + FADE], atol=1e-6)


def test_draws_are_joined_where_they_are_alike():
    a, b = np.random.default_rng(0).standard_normal((2, SEARCH))
    b[300:500] = a[300:500] + 0.01 * b[300:500]
    at, faded = crossing(a, b)
    assert 300 <= at <= 500 - FADE
    assert np.abs(faded - a[at : at + FADE]).max() < 0.05


def test_unlike_draws_keep_their_power():
    """A linear cross-fade of noises would lose 3 dB in its middle."""
    power = []
    for seed in range(40):
        at, faded = crossing(*np.random.default_rng(seed).standard_normal((2, FADE)))
        assert at == 0
        power.append((faded[FADE // 4 : -FADE // 4] ** 2).mean())
    assert abs(10 * np.log10(np.mean(power))) < 0.5
