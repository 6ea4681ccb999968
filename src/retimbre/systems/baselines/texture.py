"""Texture optimisation on the features of one random convolution.

Ulyanov and Lebedev, "Audio texture synthesis and style transfer", 2016 (their notebook): log(1 + |STFT|)
with frequency as channels, one convolution over time with random filters 11 frames wide, ReLU. An image of
noise is optimised by L-BFGS until its features F (filters, T) are near the content's, alpha * sum of
squares, and the Gram matrix F F^T / frames is the style's, sum of squares. The phase is found by Griffin and
Lim's algorithm from random ones.

Theirs are 4096 filters, alpha 1e-2 and 300 iterations at 22,050 Hz. A CPU has no time for 4096: with K
filters, content is multiplied by 4096 / K and style by (4096 / K)^2, which estimates the same two losses.
Fewer filters than frequency bins leave most of an image of noise as it was, so the default starts from the
source's image (``start: source``, ours).
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from retimbre.audio.features import FeatureConfig
from retimbre.audio.spectral import griffin_lim
from retimbre.systems.baselines.base import Corpus, Windowed, looped
from retimbre.systems.baselines.gram import minimise

WINDOW = (2048, 22050)  # samples at Hz, a quarter as hop
PUBLISHED_FILTERS = 4096
WIDTH = 11  # frames
START_STD = 1e-3
LONGEST_S = 20.0  # longer sources are optimised in parts


def random_filters(bins: int, filters: int, rng: np.random.Generator) -> Tensor:
    """Weights (filters, F, WIDTH) with the published standard deviation, which counts 4096 filters."""
    std = math.sqrt(2) * math.sqrt(2 / ((bins + PUBLISHED_FILTERS) * WIDTH))
    return torch.from_numpy(rng.standard_normal((filters, bins, WIDTH), np.float32)) * std


def responses(image: Tensor, weights: Tensor) -> Tensor:
    """Features (K, T - WIDTH + 1) of log magnitudes (F, T)."""
    return functional.conv1d(image[None], weights)[0].relu()


def gram(features: Tensor, frames: int) -> Tensor:
    """F F^T / frames of features (K, T'): (K, K). ``frames`` are those of the image, as published."""
    return features @ features.T / frames


class TextureOptimisation(Windowed):
    """``transfer`` makes an image with a source's random features and the texture of a clip of the domain.

    The clip is drawn by the seed.
    """

    name, slow, window = "texture", True, WINDOW

    def __init__(self, corpora: dict[str, Corpus], config: FeatureConfig, settings: Any):
        super().__init__(corpora, config, settings)
        self.unit = WINDOW[0] / self.n_fft  # magnitudes as large as published: log1p depends on it

    def image(self, x: np.ndarray) -> Tensor:
        """log(1 + magnitude) (F, T) of audio (N,)."""
        return (self.spectrum(x).abs() * self.unit).log1p()

    def losses(
        self, image: Tensor, weights: Tensor, content: Tensor, style_gram: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Content and style loss, as of 4096 filters, of an image (F, T): features (K, T'), Gram (K, K)."""
        more, features = PUBLISHED_FILTERS / len(weights), responses(image, weights)
        content_loss = self.settings.alpha * more * (features - content).square().sum()
        return content_loss, more**2 * (gram(features, image.shape[1]) - style_gram).square().sum()

    def optimise(self, content: Tensor, style: Tensor, rng: np.random.Generator) -> Tensor:
        """An image (F, T) from those of the content (F, T) and a style clip (F, T')."""
        weights = random_filters(len(content), self.settings.filters, rng)
        goals = responses(content, weights), gram(responses(style, weights), style.shape[1])
        noise = START_STD * torch.from_numpy(rng.standard_normal(content.shape, np.float32))
        start = noise if self.settings.start == "noise" else content + noise
        return minimise(lambda x: sum(self.losses(x, weights, *goals)), start, self.settings.iterations)

    def convert(self, x: np.ndarray, domain: str, rng: np.random.Generator) -> np.ndarray:
        style = self.image(looped(self.corpora[domain], min(len(x), int(LONGEST_S * self.sample_rate)), rng))
        # The convolution is valid: a part needs at least its width, and the edges are seen by fewer filters.
        frames = max(4 * WIDTH, int(LONGEST_S * self.sample_rate / self.hop))
        content = self.image(x)
        parts = list(content.split(frames, dim=1))
        if len(parts) > 1 and parts[-1].shape[1] < 2 * WIDTH:
            parts[-2:] = [torch.cat(parts[-2:], dim=1)]
        image = torch.cat([self.optimise(part, style, rng) for part in parts], dim=1)
        magnitude = image.clamp(min=0).expm1() / self.unit
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        size = self.n_fft, self.hop, len(x), self.settings.griffin_lim_iterations
        return griffin_lim(magnitude[None], *size, momentum=0.0, generator=generator)[0].numpy()
