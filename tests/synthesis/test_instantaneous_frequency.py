"""Log magnitude and instantaneous frequency: closed forms, and back to the audio."""

import numpy as np
import pytest
import torch

from retimbre.synthesis.instantaneous_frequency import Pictures, _mel_bands
from tests.toys.notes import toy_notes

RATE = 16000


def snr_db(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    return (10 * torch.log10(x.square().sum(1) / (x - y).square().sum(1))).numpy()


@pytest.fixture(scope="module")
def notes() -> torch.Tensor:
    return torch.from_numpy(toy_notes(3, 16384).audio)


@pytest.mark.parametrize(
    ("samples", "bins", "multiple", "frames", "padding"),
    [
        (64000, 512, 64, 256, 2304),
        (64000, 1024, 64, 128, 3072),
        (16384, 512, 32, 64, 768),
        (100, 8, 4, 24, 8),
    ],
)
def test_shapes_are_the_published_ones(samples, bins, multiple, frames, padding):
    pictures = Pictures(samples, RATE, bins, "if", multiple)
    assert (pictures.frames, pictures.padding) == (frames, padding)
    if samples < 64000:
        x = torch.randn(2, samples)
        assert pictures.encode(x).shape == (2, 2, frames, bins)
        assert pictures.decode(pictures.encode(x)).shape == x.shape


@pytest.mark.parametrize("kind", ["if", "phase"])
@pytest.mark.parametrize("bins", [512, 1024])
def test_audio_comes_back(kind, bins, notes):
    """Of notes that sound to their end, too, where there is padding behind them."""
    ending = notes * torch.linspace(1, 0, notes.shape[1])
    pictures = Pictures(16384, RATE, bins, kind, 16)
    made = pictures.encode(ending)
    assert made[:, 1].abs().max() <= 1
    assert snr_db(ending, pictures.decode(made)).min() > 40
    assert snr_db(notes.sign(), pictures.decode(pictures.encode(notes.sign()))).max() < 40
    padded = Pictures(16384, RATE, bins, kind, 16, bins // 2)
    assert padded.frames == pictures.frames
    assert snr_db(notes.sign(), padded.decode(padded.encode(notes.sign()))).min() > 40


def test_mel_bands_keep_pitch_and_level(notes):
    """Phases of several partials in one band are mixed: what comes back is near, not the same."""
    pictures = Pictures(16384, RATE, 512, "if_mel", 16)
    back = pictures.decode(pictures.encode(notes))
    assert (back.square().sum(1) / notes.square().sum(1)).numpy() == pytest.approx(1, abs=0.3)
    spectra = [torch.fft.rfft(x).abs()[:, :1000] for x in (notes, back)]
    assert torch.equal(spectra[0].argmax(1), spectra[1].argmax(1))
    assert snr_db(notes, back).min() > 6


def test_frequency_is_what_the_phase_gains():
    """Of a sinusoid every bin near it gains the same, in every frame: frequency times hop."""
    hz = 1003.0
    x = torch.sin(2 * torch.pi * hz * torch.arange(16384) / RATE)[None]
    pictures = Pictures(16384, RATE, 512, "if", 16)
    around = round(hz / (RATE / 1024)) - 1  # the lowest bin is left out
    seen = pictures.encode(x)[0, 1, 6:, around - 1 : around + 2].numpy()
    turns = hz * pictures.hop / RATE
    assert seen == pytest.approx(2 * (turns - round(turns)), abs=1e-3)
    assert np.unwrap(np.pi * Pictures(16384, RATE, 512, "phase", 16).encode(x)[0, 1, 6:, around]) == (
        pytest.approx(np.pi * (np.cumsum(seen[:, 1]) - seen[0, 1]), abs=2 * np.pi + 0.01, rel=0.01)
    )


def test_mel_bands_are_triangles_no_narrower_than_published():
    bands = _mel_bands(512, RATE)
    assert bands.shape == (512, 512) and (bands >= 0).all() and (bands <= 1).all()
    hz = np.linspace(0, RATE / 2, 512)
    mel = np.linspace(0, 1127 * np.log(1 + RATE / 2 / 700), 514)
    edges = 700 * (np.exp(mel / 1127) - 1)
    for band in (300, 450):  # wide ones, linear in hertz between their edges
        expected = np.interp(hz, edges[band : band + 3], [0, 1, 0])
        assert bands[:, band] == pytest.approx(expected, abs=1e-9)
    assert (np.count_nonzero(bands[1:, 1:], axis=0) >= 1).all(), "no band is empty"


@pytest.mark.parametrize("kind", ["if", "if_mel", "phase"])
def test_magnitudes_are_amplitudes(kind):
    pictures = Pictures(2048, RATE, 64, kind)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2048)).astype(np.float32))
    single, double = (pictures.magnitude(pictures.encode(factor * x)) for factor in (1, 2))
    torch.testing.assert_close(double, 2 * single, rtol=1e-3, atol=1e-4)
