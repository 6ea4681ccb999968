"""How much rounded weights change what a WaveNet predicts: the check behind ``weights="bfloat16"``."""

import numpy as np
from torch import Tensor

from retimbre.nn.generation.sampler import forced_logits
from retimbre.nn.wavenet.network import WaveNet


def rounding_change(
    model: WaveNet, features: Tensor | np.ndarray, domain: int, codes: np.ndarray, weights: str = "bfloat16", route: str = "auto"
) -> dict[str, float]:
    """Feed the same clip, codes (B, N) with features (B, F, T) in dB, to the float32 and to the rounded weights of a softmax network.

    Returns ``max_logit`` (largest difference of a logit less the sample's mean difference, which the softmax does not see),
    ``mean_kl_bits`` and ``max_kl_bits`` (Kullback-Leibler divergence of the rounded from the exact distribution, per sample)
    and ``nll_change_bits`` (of the clip's own codes; above 0 is worse).
    """
    exact, rounded = (
        _log_softmax(forced_logits(model, features, domain, codes, route=route, weights=kind)) for kind in ("float32", weights)
    )
    difference = rounded - exact
    kl = -(np.exp(exact) * difference).sum(-1) / np.log(2)
    at = np.asarray(codes, np.int64)[..., None]
    return {
        "max_logit": float(np.abs(difference - difference.mean(-1, keepdims=True)).max()),
        "mean_kl_bits": float(kl.mean()),
        "max_kl_bits": float(kl.max()),
        "nll_change_bits": float(-np.take_along_axis(difference, at, -1).mean() / np.log(2)),
    }


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    z = logits.astype(np.float64)
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))
