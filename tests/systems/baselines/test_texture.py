import numpy as np
import pytest
import torch

from retimbre.systems.baselines import params
from retimbre.systems.baselines import texture as t
from retimbre.systems.baselines.texture import TextureOptimisation
from tests.toys.tones import CONFIG, tone

SETTINGS = params.Texture(filters=64, alpha=1e-2, iterations=25, start="source", griffin_lim_iterations=10)


STYLE = np.concatenate([tone(hz, 0.5, 0.3) for hz in (220, 330, 262, 392)])
SOURCE = np.concatenate([tone(hz, 0.5, 3.0) for hz in (262, 220, 330)])


def make(**changes: object) -> TextureOptimisation:
    return TextureOptimisation({"reed": [STYLE]}, CONFIG, SETTINGS.model_copy(update=changes))


def distance(image: torch.Tensor, style: torch.Tensor, seed: int, filters: int = 64) -> float:
    """Relative distance of Gram matrices under the filters that ``default_rng(seed)`` gives."""
    weights = t.random_filters(len(image), filters, np.random.default_rng(seed))
    G, S = (t.gram(t.responses(x, weights), x.shape[1]) for x in (image, style))
    return float((G - S).norm() / S.norm())


def test_responses_and_gram_against_numpy() -> None:
    rng = np.random.default_rng(0)
    weights, image = t.random_filters(6, 3, rng), torch.from_numpy(rng.random((6, 20)).astype(np.float32))
    found = t.responses(image, weights).numpy()
    expected = np.array(
        [
            [max(0, float((weights[k].numpy() * image[:, i : i + 11].numpy()).sum())) for i in range(10)]
            for k in range(3)
        ]
    )
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(t.gram(torch.from_numpy(found), 20).numpy(), expected @ expected.T / 20, atol=1e-5)


def test_filters_have_the_published_spread() -> None:
    weights = t.random_filters(1025, 64, np.random.default_rng(0))
    assert float(weights.std()) == pytest.approx(np.sqrt(2) * np.sqrt(2 / ((1025 + 4096) * 11)), rel=0.01)


def test_few_filters_estimate_the_losses_of_many() -> None:
    system, rng = make(), np.random.default_rng(0)
    content, style = system.image(SOURCE), system.image(STYLE)
    noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(0))

    def losses(filters: int) -> np.ndarray:
        weights = t.random_filters(len(content), filters, rng)
        features, style_gram = (
            t.responses(content, weights),
            t.gram(t.responses(style, weights), style.shape[1]),
        )
        return np.array([float(value) for value in system.losses(noise, weights, features, style_gram)])

    assert np.allclose(np.mean([losses(128) for _ in range(8)], axis=0) / losses(2048), 1, atol=0.25)


def test_the_texture_comes_closer_than_the_source_was() -> None:
    system = make()
    content, style = system.image(SOURCE), system.image(STYLE)
    image = system.optimise(content, style, np.random.default_rng(0))
    assert image.shape == content.shape
    assert distance(image, style, 0) < 0.3 * distance(content, style, 0)
    assert distance(image, style, 7, 256) < distance(content, style, 7, 256), (
        "also under filters that it has not seen"
    )


def test_from_noise_the_texture_comes_too() -> None:
    system = make(start="noise")
    content, style = system.image(SOURCE), system.image(STYLE)
    image = system.optimise(content, style, np.random.default_rng(0))
    assert distance(image, style, 0) < 0.3 * distance(content, style, 0)


def test_more_content_keeps_more_of_the_source() -> None:
    def error(alpha: float) -> float:
        system = make(alpha=alpha)
        content, style = system.image(SOURCE), system.image(STYLE)
        image = system.optimise(content, style, np.random.default_rng(0))
        return float((image - content).square().mean())

    assert error(1e3) < 0.7 * error(1e-4)


def test_the_audio_has_the_texture_too_and_long_sources_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    system = make(griffin_lim_iterations=30)
    y, copy = system.image(system.transfer(SOURCE, "reed", 1)), system.image(SOURCE)
    assert distance(y, system.image(STYLE), 7, 256) < distance(copy, system.image(STYLE), 7, 256)
    monkeypatch.setattr(t, "LONGEST_S", 1.2)
    assert system.transfer(SOURCE, "reed", 1).shape == SOURCE.shape
