import numpy as np
import pytest
import torch

from retimbre.audio.spectral import stft
from retimbre.systems.baselines import params
from retimbre.systems.baselines.cepstral import Cepstral, log_envelope
from tests.toys.tones import CONFIG, RATE, tone

SETTINGS = params.Cepstral(envelope="knn", lifter_ms=2.0, neighbours=4)


def note(hz: float, slope: float) -> np.ndarray:
    return tone(hz, 1.0, slope)


def spectrum(x: np.ndarray) -> np.ndarray:
    return stft(torch.from_numpy(x)[None], 1024, 256)[0].abs().numpy().mean(1)


def centroid_hz(x: np.ndarray) -> float:
    s = spectrum(x) ** 2
    return float((np.arange(len(s)) * s).sum() / s.sum() * RATE / 1024)


@pytest.fixture(scope="module")
def system() -> Cepstral:
    corpora = {
        domain: [note(hz, slope) for hz in (220, 262, 330, 392)]
        for domain, slope in (("flute", 3.0), ("reed", 0.3))
    }
    return Cepstral(corpora, CONFIG, SETTINGS)


def test_own_envelope_gives_the_source_back(system: Cepstral) -> None:
    x = note(262, 1.0)
    with torch.no_grad():
        y = system.hybrid(x, system._envelope(system._spectrum(x).abs()))
    assert 10 * np.log10(np.sum(x**2) / np.sum((y - x) ** 2)) > 60


@pytest.mark.parametrize("envelope", ["knn", "mean", "clip"])
def test_pitch_stays_and_brightness_goes_to_the_target(system: Cepstral, envelope: str) -> None:
    system.settings = SETTINGS.model_copy(update={"envelope": envelope})
    x = note(330, 3.0)
    target = note(330, 0.3)
    y = system.transfer(x, "reed", 0)
    peaks = np.fft.rfft(y * np.hanning(len(y)))
    found = np.abs(peaks).argmax() * RATE / len(y)
    assert min(abs(found - n * 330) for n in range(1, 12)) < 3, "energy only at the source's partials"
    assert centroid_hz(y) > centroid_hz(x) + 0.15 * (centroid_hz(target) - centroid_hz(x))


def test_nearest_envelopes_are_those_of_the_same_note(system: Cepstral) -> None:
    """The corpus' notes have formants of their own: knn takes the right one, the mean does not."""
    rng = np.random.default_rng(0)
    shaped = {
        hz: np.convolve(note(hz, 0.3), rng.normal(size=6) * np.exp(-np.arange(6) / 3), "same").astype(
            np.float32
        )
        for hz in (220, 311, 440)
    }
    other = Cepstral({"reed": list(shaped.values())}, CONFIG, SETTINGS)
    x = note(311, 0.3)
    distance = {}
    for envelope in ("knn", "mean"):
        other.settings = SETTINGS.model_copy(update={"envelope": envelope})
        y = other.transfer(x, "reed")
        a, b = (np.log(spectrum(z / np.sqrt(np.mean(z**2))) + 1e-2) for z in (y, shaped[311]))
        distance[envelope] = np.sqrt(np.mean((a - b) ** 2))
    assert distance["knn"] < 0.7 * distance["mean"]


def test_frames_keep_their_energy(system: Cepstral) -> None:
    x = note(262, 3.0) * np.linspace(0.05, 1, RATE, dtype=np.float32)
    y = system.transfer(x, "reed")
    before, after = (np.sqrt(np.mean(z[:8000].reshape(-1, 1000) ** 2, axis=1)) for z in (x, y))
    change_db = 20 * np.log10(after / before)
    assert np.ptp(change_db) < 0.5 and abs(change_db.mean()) < 3, "one gain for all of it"


def test_the_envelope_is_smooth_and_exact_for_smooth_spectra() -> None:
    cepstrum = torch.zeros(512)
    cepstrum[[0, 3, -3]] = torch.tensor([1.0, 0.4, 0.4])
    smooth = torch.fft.rfft(cepstrum).real[:, None]
    assert torch.allclose(log_envelope(smooth.exp(), 16, 1e-6), smooth, atol=1e-4)
    comb = torch.zeros(512)
    comb[[64, -64]] = 0.5  # the fine structure of a pitch of 64 samples
    fine = smooth + torch.fft.rfft(comb).real[:, None]
    assert torch.allclose(log_envelope(fine.exp(), 16, 1e-6), smooth, atol=1e-4)
