import numpy as np
import pytest
import scipy.optimize
import torch

from retimbre.systems.baselines import params
from retimbre.systems.baselines.gram import GramOptimisation, gram, losses, minimise
from tests.toys.tones import CONFIG, RATE

SETTINGS = params.Gram(content=10.0, style=10.0, iterations=30, phase="source")


def noise(seed: int, colour: float, seconds: float = 1.0) -> np.ndarray:
    """Noise with a spectrum that falls (colour above 0) or rises."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=int(seconds * RATE)))
    spectrum *= (np.arange(len(spectrum)) + 20.0) ** -colour
    x = np.fft.irfft(spectrum)
    return (0.1 * x / x.std()).astype(np.float32)


def make(**changes: object) -> GramOptimisation:
    return GramOptimisation({"reed": [noise(1, -0.5, 2.0)]}, CONFIG, SETTINGS.model_copy(update=changes))


def test_losses_against_numpy() -> None:
    rng = np.random.default_rng(0)
    S, C, G = rng.random((5, 7)), rng.random((5, 7)), rng.random((5, 5))
    content, style = losses(torch.from_numpy(S), torch.from_numpy(C), torch.from_numpy(G))
    assert float(content) == pytest.approx(0.5 * np.mean((S - C) ** 2)) and float(style) == pytest.approx(
        0.5 * np.mean((S @ S.T - G) ** 2)
    )


def test_minimise_finds_a_known_minimum_within_bounds() -> None:
    goal = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    found = minimise(lambda x: ((x - goal) ** 2).sum(), torch.ones(2, 2), 50, lowest=0.0)
    assert torch.allclose(found, goal.clamp(min=0), atol=1e-4)
    start = np.array([-1.2, 1.0])
    rosen = minimise(
        lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, torch.from_numpy(start).float(), 100
    )
    assert np.allclose(rosen.numpy(), scipy.optimize.minimize(scipy.optimize.rosen, start).x, atol=2e-2)


def test_the_loss_falls_with_iterations_and_magnitudes_stay_positive() -> None:
    few, many = make(iterations=2), make(iterations=40)
    content, style = few.spectrum(noise(2, 1.0)).abs(), few.spectrum(noise(1, -0.5)).abs()

    def total(S: torch.Tensor) -> float:
        c, s = losses(S, content, gram(style))
        return float(10 * c + 10 * s)

    start, after_few, after_many = (
        total(content),
        total(few.optimise(content, style)),
        total(many.optimise(content, style)),
    )
    assert after_many < 0.5 * after_few < 0.5 * start
    assert many.optimise(content, style).min() >= 0


def test_without_style_the_source_comes_back() -> None:
    x = noise(3, 1.0)
    y = make(style=0.0).transfer(x, "reed", 0)
    assert 10 * np.log10(np.sum(x**2) / np.sum((y - x) ** 2)) > 60


def test_colour_goes_to_the_target_and_time_stays_aligned() -> None:
    x = noise(4, 1.0)
    x[: RATE // 2] *= 0.02
    y = make().transfer(x, "reed", 0)

    def brightness(z: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(z)) ** 2
        return float((np.arange(len(power)) * power).sum() / power.sum() / len(power))

    assert brightness(x) < 0.2 < brightness(y)
    assert np.mean(y[: RATE // 2 - 600] ** 2) < 0.5 * np.mean(y[RATE // 2 + 600 :] ** 2), (
        "quiet stays quieter"
    )
    assert not np.allclose(y, make(phase="griffin_lim").transfer(x, "reed", 0), atol=1e-2)
