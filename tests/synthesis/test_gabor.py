"""The Gabor transform against its definition, phases against closed forms and plain Python."""

import heapq

import numpy as np
import pytest
import torch

from retimbre.synthesis import gabor

N, HOP, CHANNELS = 16384, 128, 512
SINUSOID = 440  # cycles in N samples
CENTRE = SINUSOID * CHANNELS / N  # in channels


def noise(seed: int = 0, count: int = 1) -> torch.Tensor:
    return torch.randn(count, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sinusoid() -> torch.Tensor:
    return torch.cos(2 * torch.pi * SINUSOID * torch.arange(N, dtype=torch.float64) / N)[None]


def chirp() -> torch.Tensor:
    """From 300 to 6000 Hz of 16000, silent where the circle closes."""
    t = torch.arange(N, dtype=torch.float64) / 16000
    envelope = torch.sin(torch.pi * torch.arange(N) / N) ** 2
    return (envelope * torch.sin(2 * torch.pi * (300 * t + 2780 * t**2)))[None]


def projection_error(level: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Distance of magnitudes to those of the audio that they make with a phase, as a share of their norm."""
    coefficients = torch.nn.functional.pad(torch.polar(level.exp(), phase), (0, 0, 0, 1))
    projected = gabor.analyse(gabor.synthesise(coefficients))[:, :-1].abs()
    return (level.exp() - projected).flatten(1).norm(dim=1) / level.exp().flatten(1).norm(dim=1)


def phase_noise(shape: torch.Size) -> torch.Tensor:
    return 2 * torch.pi * torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_coefficients_are_products_with_moved_windows():
    x = noise()
    made = gabor.analyse(x)
    assert made.shape == (1, CHANNELS // 2 + 1, N // HOP)
    n = np.arange(N)
    window = np.exp(-np.pi * ((n + N // 2) % N - N // 2) ** 2 / (HOP * CHANNELS))
    for channel, frame in ((0, 0), (3, 127), (200, 40), (256, 64)):
        wave = np.exp(-2j * np.pi * channel * (n - HOP * frame) / CHANNELS)
        expected = (x[0].numpy() * np.roll(window, HOP * frame) * wave).sum()
        assert made[0, channel, frame].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("hop", "channels"), [(128, 512), (64, 1024), (256, 1024), (64, 256)])
def test_the_dual_window_gives_the_audio_back(hop, channels):
    x = noise(count=2)
    back = gabor.synthesise(gabor.analyse(x, hop, channels), hop, channels)
    assert torch.allclose(back, x, atol=1e-7)


def test_lengths_that_do_not_fit_are_refused():
    for length in (1024, N + 1):
        with pytest.raises(ValueError, match="128"):
            gabor.analyse(torch.zeros(1, length))


def test_derivatives_of_a_sinusoid_and_of_an_impulse():
    """Its frequency, seen from every channel; its time, seen from every frame."""
    x = sinusoid()
    channels = slice(int(CENTRE) - 1, int(CENTRE) + 3)
    away = CENTRE - torch.arange(CHANNELS // 2)[channels]
    made = gabor.derivatives(x)[0, :, channels]
    assert torch.allclose(made[0], away[:, None].expand_as(made[0]).double(), atol=1e-6)
    assert made[1].abs().max() < 1e-6
    # Its log magnitude is a parabola in frequency, of which differences between neighbours are exact.
    of_level = gabor.derivatives_of(gabor.log_magnitude(x))[0, :, channels]
    assert torch.allclose(of_level, made, atol=1e-5)

    impulse = torch.zeros(1, N, dtype=torch.float64)
    impulse[0, 5000] = 1
    frames = slice(37, 42)
    away = 5000 / HOP - torch.arange(N // HOP)[frames]
    made = gabor.derivatives(impulse)[0, :, 1:, frames]
    assert torch.allclose(made[1], away.expand_as(made[1]).double(), atol=1e-6)
    assert made[0].abs().max() < 1e-6
    of_level = gabor.derivatives_of(gabor.log_magnitude(impulse))[0, :, 1:, frames]
    assert torch.allclose(of_level, made, atol=1e-5)


def plain_pghi(level, slopes, start, tolerance):
    """Integration as published, over a list of neighbours."""
    rows, columns = level.shape
    step = 2 * np.pi * HOP / CHANNELS
    phase, todo = start.copy(), {
        (r, c) for r in range(rows) for c in range(columns) if level[r, c] > level.max() - tolerance
    }  # fmt: skip
    while todo:
        first = max(todo, key=lambda place: level[place])
        todo.remove(first)
        phase[first] = 0
        heap = [(-level[first], first)]
        while heap:
            _, (r, c) = heapq.heappop(heap)
            for dr, dc in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                other = (r + dr, (c + dc) % columns)
                if other not in todo:
                    continue
                todo.remove(other)
                frequency = (slopes[0][r, c] + r + slopes[0][other] + other[0]) / 2
                delay = (slopes[1][r, c] + slopes[1][other]) / 2
                phase[other] = phase[r, c] + step * (dc * frequency - dr * delay)
                heapq.heappush(heap, (-level[other], other))
    return phase


def test_integration_is_that_of_plain_python():
    """Of arbitrary numbers, with islands and places below the tolerance."""
    rng = np.random.default_rng(5)
    level, start = rng.normal(0, 3, (12, 10)), rng.uniform(0, 6, (12, 10))
    slopes = rng.normal(0, 1, (2, 12, 10))
    given = (torch.from_numpy(x)[None] for x in (level, slopes, start))
    made = gabor.pghi(*given, HOP, CHANNELS, tolerance=7.0)[0].numpy()
    assert np.allclose(made, plain_pghi(level, slopes, start, 7.0))
    below = level <= level.max() - 7.0
    assert 10 < below.sum() < 110 and np.array_equal(made[below], start[below])


@pytest.mark.parametrize("audio", [sinusoid, chirp])
def test_integrated_phase_rebuilds_the_magnitude(audio):
    x = audio()
    level = gabor.log_magnitude(x)
    assert level.shape == (1, CHANNELS // 2, N // HOP) and level.max() == 0 and level.min() == gabor.FLOOR
    draw = torch.Generator().manual_seed(0)  # what lies below the tolerance has random phases
    error = projection_error(level, gabor.phase_of(level, generator=draw))
    assert error < 0.02
    assert projection_error(level, phase_noise(level.shape)) > 20 * error
    # The derivatives of the true phase do not suffer from the floor.
    assert projection_error(level, gabor.phase_of(level, gabor.derivatives(x), draw.manual_seed(0))) < error
    assert projection_error(level, gabor.analyse(x)[:, :-1].angle()) < 1e-3


def test_the_inverse_is_the_sound_but_for_its_sign_and_level():
    x = chirp()
    draw = torch.Generator().manual_seed(0)
    back = gabor.invert(gabor.log_magnitude(x), gabor.derivatives(x), draw)
    assert back.shape == x.shape and back.abs().max() == pytest.approx(1)
    level = gabor.log_magnitude(x)
    assert (gabor.log_magnitude(back) - level)[level > -4].abs().mean() < 0.05
    assert not torch.equal(back, gabor.invert(level, gabor.derivatives(x), draw)), "noise below the tolerance"


def test_silence_stays_silence():
    silence = torch.zeros(1, N)
    assert (gabor.log_magnitude(silence) == gabor.FLOOR).all()
    assert gabor.invert(gabor.log_magnitude(silence)).isfinite().all()


def test_consistency_is_a_correlation_and_grows_with_the_lattice():
    """The two bends of a transform of sound cancel in the limit: the finer the lattice, the nearer to 1."""
    x = noise(count=2)
    found = []
    for hop, channels in ((128, 512), (64, 1024), (32, 2048)):  # of one window
        found.append(gabor.consistency(gabor.log_magnitude(x, hop, channels), hop, channels))
    assert found[0].numpy() == pytest.approx(0.76, abs=0.01)
    assert (found[0] + 0.1 < found[1]).all() and (found[1] + 0.03 < found[2]).all()
    level = gabor.log_magnitude(x)[0].numpy()
    bends = [np.diff(level[:, 1:-1], 2, 0), np.diff(level[1:-1], 2, 1)]
    expected = np.corrcoef(*(np.abs(bend + np.pi / 4).ravel() for bend in bends))[0, 1]
    assert found[0][0].item() == pytest.approx(expected)
    assert gabor.consistency(-10 * torch.rand(1, 256, 128)).item() < 0.4
