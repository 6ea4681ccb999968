"""Cases: audio from a constant-Q transform and from STFT magnitudes. Unit: x realtime.

What is compared is time at equal quality, so every case states the quality that its routes reach: the
signal-to-noise ratio of the inverse from complex coefficients, the spectral convergence ||magnitude of the
result - magnitude|| / ||magnitude|| of those from magnitudes. The constant-Q measure is always librosa's
transform.
"""

import warnings
from collections.abc import Iterator

import librosa
import numpy as np
import torch

from benchmarks.pghi import pghi_phase
from benchmarks.timing import Case, Route
from benchmarks.transforms import C1_HZ, HOP, RATE
from retimbre.audio.cqt import ConstantQ
from retimbre.audio.cqt_inverse import InverseConstantQ
from retimbre.audio.spectral import griffin_lim, spsi_phase, stft

SECONDS = 4
ENOUGH = (2, 4, 8, 12, 16, 24, 32, 48, 64)  # numbers of iterations to choose from


def harmonic_notes() -> np.ndarray:
    """Twelve decaying notes of eight partials, 55 Hz to 4 kHz: float32 (N,)."""
    random, t = np.random.default_rng(3), np.arange(RATE * SECONDS) / RATE
    y = np.zeros_like(t)
    for _ in range(12):
        f0, onset = 55 * 2 ** (random.integers(0, 48) / 12), random.uniform(0, 3.2)
        envelope = np.where(t > onset, np.exp(-(t - onset) * 3), 0)
        for h in range(1, 9):
            if f0 * h < 4000:
                y += envelope * np.sin(2 * np.pi * f0 * h * t + random.uniform(0, 6)) / h
    return (0.8 * y / np.abs(y).max()).astype(np.float32)


def _snr(x: np.ndarray, y: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2)))


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def inversion_cases(quick: bool) -> Iterator[Case]:
    warnings.filterwarnings("ignore", message="n_fft=.* is too large", module="librosa")
    y = harmonic_notes()
    shapes = [(84, 12, 256), (84, 12, 128), (168, 24, 256), (168, 24, 128), (336, 48, 256), (336, 48, 128)]
    for bins, per_octave, hop in shapes:
        yield _least_squares(y, bins, per_octave, hop)
    # librosa needs seconds per call: few iterations of it, few cases.
    slow = [(84, 12, 256, 32), (84, 12, 128, 32), (336, 48, 256, 16)]
    for bins, per_octave, hop, iterations in slow[: 1 if quick else 3]:
        yield _from_magnitude(y, bins, per_octave, hop, iterations)
    yield _phase_starts(y)


def _least_squares(y: np.ndarray, bins: int, per_octave: int, hop: int) -> Case:
    transform = ConstantQ(RATE, hop, C1_HZ, bins, per_octave)
    inverse, C = InverseConstantQ(transform), transform(torch.from_numpy(y)[None])
    common = {"sr": RATE, "hop_length": hop, "fmin": C1_HZ, "bins_per_octave": per_octave}
    C_theirs = librosa.cqt(y, n_bins=bins, **common)
    calls = {
        "retimbre least squares": lambda: inverse(C, len(y))[0].numpy(),
        "retimbre least squares, 4 iterations": lambda: inverse(C, len(y), 4)[0].numpy(),
        "librosa.icqt": lambda: librosa.icqt(C_theirs, length=len(y), **common),
    }
    ratios = (f"{name} {_snr(y, call()):.1f} dB" for name, call in calls.items())
    note = f"signal-to-noise ratio {', '.join(ratios)}"
    routes = [Route(name, call, SECONDS) for name, call in calls.items()]
    return Case("inverse CQT", f"{bins} bins, hop {hop}", "x realtime", routes, "librosa.icqt", note=note)


def _from_magnitude(y: np.ndarray, bins: int, per_octave: int, hop: int, iterations: int) -> Case:
    common = {"sr": RATE, "hop_length": hop, "fmin": C1_HZ, "bins_per_octave": per_octave}
    magnitude = np.abs(librosa.cqt(y, n_bins=bins, **common))
    inverse = InverseConstantQ(ConstantQ(RATE, hop, C1_HZ, bins, per_octave))

    def ours(count: int) -> np.ndarray:
        wanted, generator = torch.from_numpy(magnitude)[None], torch.Generator().manual_seed(0)
        return inverse.griffin_lim(wanted, len(y), count, generator=generator)[0].numpy()

    def theirs() -> np.ndarray:
        return librosa.griffinlim_cqt(magnitude, n_iter=iterations, length=len(y), random_state=0, **common)

    def convergence(x: np.ndarray) -> float:
        return _distance(np.abs(librosa.cqt(x, n_bins=bins, **common)), magnitude)

    reached = convergence(theirs())
    enough = next((count for count in ENOUGH if convergence(ours(count)) <= reached), ENOUGH[-1])
    equal = f"retimbre fast Griffin-Lim, {enough} iterations"
    same = f"retimbre fast Griffin-Lim, {iterations} iterations"
    peer = f"librosa.griffinlim_cqt, {iterations} iterations"
    routes = [Route(equal, lambda: ours(enough), SECONDS), Route(peer, theirs, SECONDS)]
    own = convergence(ours(enough))
    note = f"spectral convergence ({enough} iterations) {own:.3f}, librosa {reached:.3f}"
    if enough != iterations:
        routes.insert(1, Route(same, lambda: ours(iterations), SECONDS))
        note += f", as many iterations as librosa {convergence(ours(iterations)):.3f}"
    return Case("CQT magnitude to audio", f"{bins} bins, hop {hop}", "x realtime", routes, peer, note=note)


def _phase_starts(y: np.ndarray) -> Case:
    """Phase from STFT magnitude in one pass, and librosa's Griffin-Lim until it is as good as PGHI."""
    x = torch.from_numpy(y)[None]
    magnitude = stft(x, 1024, HOP).abs()
    m = magnitude[0].numpy()

    def one_pass(method) -> np.ndarray:
        phase = torch.from_numpy(method(m, 1024, HOP))[None]
        return griffin_lim(magnitude, 1024, HOP, len(y), 0, initial_phase=phase)[0].numpy()

    def convergence(audio: np.ndarray) -> float:
        return _distance(stft(torch.from_numpy(audio)[None], 1024, HOP).abs()[0].numpy(), m)

    def theirs(count: int) -> np.ndarray:
        settings = {"hop_length": HOP, "length": len(y), "random_state": 0, "pad_mode": "constant"}
        return librosa.griffinlim(m, n_iter=count, **settings)

    wanted = convergence(one_pass(pghi_phase))
    enough = next((count for count in ENOUGH if convergence(theirs(count)) <= wanted), ENOUGH[-1])
    peer = f"librosa.griffinlim, {enough} iterations"
    calls = {
        "retimbre PGHI": lambda: one_pass(pghi_phase),
        "retimbre SPSI": lambda: one_pass(spsi_phase),
        peer: lambda: theirs(enough),
    }
    reached = (f"{name} {convergence(call()):.3f}" for name, call in calls.items())
    note = f"spectral convergence {', '.join(reached)}"
    routes = [Route(name, call, SECONDS) for name, call in calls.items()]
    return Case("STFT magnitude to audio", "1024/256", "x realtime", routes, peer, note=note)
