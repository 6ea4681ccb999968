"""Companding to 8-bit codes (mu-law, the formula of ITU-T G.711 without segments), and pre-emphasis.

Functions that take both numpy arrays and torch tensors call methods only, so torch is not imported here.
"""

from typing import Any

import numpy as np
from scipy.signal import lfilter


def _is_tensor(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "torch"


def mu_law_encode(x: Any, mu: int = 255) -> Any:
    """Audio in [-1, 1] -> codes 0..mu (int64, same kind and shape).

    -1 is 0, silence is (mu + 1) / 2 = 128, +1 is mu.
    Samples beyond full scale are clipped first, so no code is out of range; NaN counts as silence.
    """
    if _is_tensor(x):
        x = x.nan_to_num(nan=0.0).clamp(-1.0, 1.0)
        f = x.sign() * (x.abs() * mu).log1p() / float(np.log1p(mu))
        return ((f + 1.0) / 2.0 * mu + 0.5).floor().long().clamp(0, mu)
    x = np.asarray(x)
    x = x.astype(np.float64) if x.dtype.kind != "f" else x
    x = np.clip(np.where(np.isnan(x), 0.0, x), -1.0, 1.0)
    f = np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)
    return np.clip(np.floor((f + 1.0) / 2.0 * mu + 0.5), 0, mu).astype(np.int64)


def mu_law_decode(codes: Any, mu: int = 255) -> Any:
    """Codes 0..mu -> audio in [-1, 1], float32; encoding the result gives the codes back.

    Codes are symmetric about 127.5, so 128, the code of silence, is 0.00009 and not 0.
    """
    if _is_tensor(codes):
        f = codes.float() * (2.0 / mu) - 1.0
        return f.sign() * ((f.abs() * float(np.log1p(mu))).expm1() / mu).clamp(0.0, 1.0)
    f = np.asarray(codes, dtype=np.float32) * np.float32(2.0 / mu) - np.float32(1.0)
    magnitude = np.minimum(np.expm1(np.abs(f) * np.float32(np.log1p(mu))) / np.float32(mu), 1.0)
    return (np.sign(f) * magnitude).astype(np.float32)


def pcm_encode(x: Any) -> Any:
    """Audio in [-1, 1] -> unsigned 16-bit codes 0..65535 (int64, same kind and shape).

    They are evenly spaced; silence is 32768.
    Samples beyond full scale are clipped first; NaN counts as silence.
    """
    if _is_tensor(x):
        return ((x.nan_to_num(nan=0.0) * 32768.0).round() + 32768.0).clamp(0, 65535).long()
    x = np.asarray(x)
    x = x.astype(np.float64) if x.dtype.kind != "f" else x
    return np.clip(np.round(np.where(np.isnan(x), 0.0, x) * 32768.0) + 32768.0, 0, 65535).astype(np.int64)


def pcm_decode(codes: Any) -> Any:
    """The inverse of :func:`pcm_encode`: float32 in [-1, 1), exact."""
    if _is_tensor(codes):
        return (codes.float() - 32768.0) / 32768.0
    return ((np.asarray(codes, np.float32) - np.float32(32768)) / np.float32(32768)).astype(np.float32)


def _filter(b: list[float], a: list[float], x: np.ndarray, coefficient: float) -> np.ndarray:
    if not 0.0 <= coefficient < 1.0:
        raise ValueError(f"the pre-emphasis coefficient is {coefficient}: it must be at least 0 and below 1")
    x = np.asarray(x)
    dtype = x.dtype if x.dtype.kind == "f" else np.float64
    return lfilter(b, a, x.astype(np.float64), axis=-1).astype(dtype)


def preemphasis(x: np.ndarray, coefficient: float) -> np.ndarray:
    """y[n] = x[n] - coefficient * x[n - 1] along the last axis, from silence; 0 <= coefficient < 1."""
    return _filter([1.0, -coefficient], [1.0], x, coefficient)


def deemphasis(x: np.ndarray, coefficient: float) -> np.ndarray:
    """The inverse of :func:`preemphasis`: y[n] = x[n] + coefficient * y[n - 1]."""
    return _filter([1.0], [1.0, -coefficient], x, coefficient)


def encode_audio(x: np.ndarray, coefficient: float, gain: float, pcm: bool = False) -> np.ndarray:
    """Audio (..., N), pre-emphasised and with a gain, to codes: 8-bit mu-law (``pcm``: 16-bit, even)."""
    return (pcm_encode if pcm else mu_law_encode)(gain * preemphasis(x, coefficient))


def decode_audio(codes: np.ndarray, coefficient: float, gain: float, pcm: bool = False) -> np.ndarray:
    """The inverse of ``encode_audio``, up to the quantiser."""
    return deemphasis((pcm_decode if pcm else mu_law_decode)(codes) / gain, coefficient).astype(np.float32)
