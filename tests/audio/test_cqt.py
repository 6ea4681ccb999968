"""The constant-Q transform against librosa, nnAudio and an exact sinusoid."""

import librosa
import numpy as np
import pytest
import torch
from nnAudio.features import VQT, CQT2010v2

from retimbre.audio.cqt import ConstantQ, half_band, octave_kernels, quality_factor
from retimbre.errors import RetimbreError

RATE, HOP, C1 = 16000, 256, 32.70319566257483


def harmonic_notes(samples: int) -> np.ndarray:
    """A polyphonic line of decaying notes with eight partials each."""
    random, time = np.random.default_rng(0), np.arange(samples) / RATE
    y = np.zeros(samples)
    for _ in range(10):
        f0, onset = 55 * 2 ** (random.integers(0, 48) / 12), random.uniform(0, samples / RATE)
        envelope = np.where(time > onset, np.exp(-(time - onset) * 3), 0)
        for h in range(1, 9):
            y += envelope * np.sin(2 * np.pi * f0 * h * time + random.uniform(0, 6)) / h * (f0 * h < 7000)
    return y / np.abs(y).max()


def signal(kind: str, samples: int = 48000, fade: int = 0) -> np.ndarray:
    """Test audio, float32 (N,); ``fade`` samples at both ends rise and fall."""
    time = np.arange(samples) / RATE
    if kind == "notes":
        y = harmonic_notes(samples)
    elif kind == "chirp":  # 40 Hz to 7 kHz
        octaves = np.log2(7000 / 40) / time[-1]
        y = 0.5 * np.sin(2 * np.pi * 40 * (2 ** (time * octaves) - 1) / (octaves * np.log(2)))
    elif kind == "noise":
        y = 0.1 * np.random.default_rng(1).standard_normal(samples)
    elif kind == "music":  # chords with vibrato and a plucked bass over a drum, in a room
        random = np.random.default_rng(2)
        y = np.zeros(samples)
        for start in np.arange(0, time[-1], 0.5):
            on = np.maximum(time - start, 0)
            for semitones, decay in (
                (random.integers(-24, -12), 6),
                *((random.integers(-5, 12), 1.5) for _ in range(3)),
            ):
                phase = 440 * 2 ** (semitones / 12) * (on + 0.0004 * np.sin(2 * np.pi * 5.5 * on))
                y += (
                    sum(np.sin(2 * np.pi * h * phase) / h for h in range(1, 6))
                    * np.exp(-decay * on)
                    * (time > start)
                )
            y += random.standard_normal(samples) * np.exp(-40 * on) * (time > start)
        room = random.standard_normal(4000) * np.exp(-np.arange(4000) / 800) * 0.03
        y = np.convolve(y, np.concatenate([[1.0], room]))[:samples] / 20
    else:
        y = np.zeros(samples)
        y[[samples // 4, samples // 2 + 77, 3 * samples // 4 + 1]] = 1.0
    ramp = np.minimum(np.arange(samples), np.arange(samples)[::-1])
    return (
        (y * np.sin(np.pi / 2 * np.minimum(1, ramp / max(fade, 1))) ** 2).astype(np.float32)
        if fade
        else y.astype(np.float32)
    )


def reference(
    y: np.ndarray, bins: int, per_octave: int, hop: int = HOP, fmin: float = C1, **more
) -> np.ndarray:
    return librosa.cqt(y, sr=RATE, hop_length=hop, fmin=fmin, n_bins=bins, bins_per_octave=per_octave, **more)


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("kind", ["notes", "chirp", "noise", "impulses", "music"])
@pytest.mark.parametrize("bins, per_octave", [(84, 12), (336, 48)])
def test_agrees_with_librosa(bins, per_octave, kind):
    y = signal(kind)
    ours = ConstantQ(RATE, HOP, C1, bins, per_octave)(torch.from_numpy(y)[None])[0].numpy()
    theirs = reference(y, bins, per_octave)
    assert ours.shape == theirs.shape == (bins, len(y) // HOP + 1)
    a, b = np.abs(ours), np.abs(theirs)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9995
    assert abs((a * b).sum() / (b * b).sum() - 1) < 0.002
    assert relative_error(a, b) < 0.015
    assert relative_error(ours, theirs) < 0.02  # the phase too


@pytest.mark.parametrize("kind", ["notes", "chirp", "noise", "impulses", "music"])
@pytest.mark.parametrize("bins, per_octave", [(84, 12), (336, 48)])
def test_is_librosas_transform(bins, per_octave, kind):
    """What is left above comes from librosa's sparse basis, and from the edges, where it drops what its
    decimation filters ring before and after the audio. Without the one and with soft edges the two are the
    same transform."""
    y = signal(kind, fade=8000)
    ours = ConstantQ(RATE, HOP, C1, bins, per_octave)(torch.from_numpy(y)[None])[0].numpy()
    assert relative_error(ours, reference(y, bins, per_octave, sparsity=0)) < 0.002


@pytest.mark.parametrize("bins, fmin", [(84, C1), (60, C1), (36, 55.0), (95, C1)])
def test_is_nearer_to_the_definition_than_librosa(bins, fmin):
    """Every kernel at the full rate, as a sum. Hard edges; 95 bins reach close to half the sample rate."""
    y = np.concatenate([signal("noise", 8000), signal("notes", 16001) + 0.5, [1.0]]).astype(np.float32)
    kernels = octave_kernels(fmin * 2 ** (np.arange(bins) / 12), quality_factor(12), RATE, RATE)
    half = len(kernels) // 2
    rows = np.lib.stride_tricks.sliding_window_view(np.pad(y, half), 2 * half)[::HOP]
    exact = np.abs(rows @ kernels.astype(np.complex64)).T
    ours = ConstantQ(RATE, HOP, fmin, bins, 12).magnitude(torch.from_numpy(y)[None])[0].numpy()
    error = relative_error(ours, exact[:, : ours.shape[1]])
    assert error < 0.05
    assert error < relative_error(np.abs(reference(y, bins, 12, fmin=fmin)), exact[:, : ours.shape[1]])


@pytest.mark.parametrize(
    "bins, per_octave, hop, fmin, samples",
    [
        (60, 12, 256, C1, 31777),
        (30, 12, 64, 110.0, 16001),
        (41, 24, 160, 220.0, 20000),
        (1, 12, 100, 440.0, 8000),
        (50, 7, 384, 40.0, 16123),
    ],
)
def test_agrees_with_librosa_at_other_settings(bins, per_octave, hop, fmin, samples):
    """Octaves that are not whole, odd hops and lengths, low bins that start below the full rate."""
    y = signal("notes", samples, fade=samples // 4)
    ours = ConstantQ(RATE, hop, fmin, bins, per_octave)(torch.from_numpy(y)[None])[0].numpy()
    theirs = reference(y, bins, per_octave, hop, fmin, sparsity=0)
    assert ours.shape == theirs.shape
    assert relative_error(ours, theirs) < 0.005


def test_other_sample_rate_halves_first():
    y = signal("notes", fade=8000)
    module = ConstantQ(48000, 512, 65.4, 60, 12)
    assert module.halvings_first == 2
    theirs = librosa.cqt(y, sr=48000, hop_length=512, fmin=65.4, n_bins=60, sparsity=0)
    assert relative_error(module(torch.from_numpy(y)[None])[0].numpy(), theirs) < 0.005


@pytest.mark.parametrize("same_length", [False, True])
@pytest.mark.parametrize("kind", ["notes", "chirp", "noise", "impulses", "music"])
@pytest.mark.parametrize("bins, per_octave, most", [(84, 12, 0.03), (336, 48, 0.015)])
def test_agrees_with_nnaudio(bins, per_octave, most, kind, same_length):
    y = torch.from_numpy(signal(kind))[None]
    settings = dict(n_bins=bins, bins_per_octave=per_octave, pad_mode="constant", verbose=False)
    theirs = CQT2010v2(sr=RATE, hop_length=HOP, fmin=C1, **settings)(y)[0].numpy()
    # nnAudio's kernels are 3 % shorter than librosa's at 12 bins per octave (Q = 1 / (r - 1)). On noise this
    # shows: librosa and nnAudio correlate by 0.9987 there, so nothing can be closer than 0.999 to both; with
    # kernels as short as nnAudio's we are.
    scale = 1 / (2 ** (1 / per_octave) - 1) / quality_factor(per_octave) if same_length else 1.0
    ours = ConstantQ(RATE, HOP, C1, bins, per_octave, filter_scale=scale).magnitude(y)[0].numpy()
    assert relative_error(ours, theirs) < most
    correlation = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    if kind == "noise" and not same_length:
        librosas = np.abs(reference(y[0].numpy(), bins, per_octave))
        assert correlation > np.corrcoef(librosas.ravel(), theirs.ravel())[0, 1] - 1e-4
    else:
        assert correlation > 0.999
    assert abs((ours * theirs).sum() / (theirs**2).sum() - 1) < 0.01


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.7])
def test_filter_scale_is_librosas(scale):
    y = signal("notes", fade=8000)
    ours = ConstantQ(RATE, HOP, C1, 84, 12, filter_scale=scale)(torch.from_numpy(y)[None])[0].numpy()
    theirs = librosa.cqt(y, sr=RATE, hop_length=HOP, fmin=C1, n_bins=84, filter_scale=scale, sparsity=0)
    assert relative_error(ours, theirs) < 0.005


@pytest.mark.parametrize("kind", ["notes", "chirp", "noise", "impulses", "music"])
@pytest.mark.parametrize(
    "bins, per_octave, gamma", [(84, 12, 5.0), (84, 12, None), (336, 48, 10.0), (84, 12, 0.0)]
)
def test_variable_q_agrees_with_librosa(bins, per_octave, gamma, kind):
    """librosa's gamma None is the bandwidth of hearing; gamma 0 is the constant-Q transform."""
    y, soft = signal(kind), signal(kind, fade=8000)
    module = ConstantQ(RATE, HOP, C1, bins, per_octave, gamma=gamma)
    common = dict(sr=RATE, hop_length=HOP, fmin=C1, n_bins=bins, bins_per_octave=per_octave, gamma=gamma)
    a, b = module.magnitude(torch.from_numpy(y)[None])[0].numpy(), np.abs(librosa.vqt(y, **common))
    assert a.shape == b.shape
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9995
    assert abs((a * b).sum() / (b * b).sum() - 1) < 0.002
    assert relative_error(a, b) < 0.015
    # Without librosa's sparse basis and with soft edges the two are the same transform, phase included.
    assert (
        relative_error(
            module(torch.from_numpy(soft)[None])[0].numpy(), librosa.vqt(soft, sparsity=0, **common)
        )
        < 0.003
    )


def test_gamma_zero_is_the_constant_q_transform():
    x = torch.from_numpy(signal("notes"))[None]
    assert torch.equal(ConstantQ(RATE, HOP, C1, 84, 12, gamma=0.0)(x), ConstantQ(RATE, HOP, C1, 84, 12)(x))


@pytest.mark.parametrize("bins, per_octave, gamma", [(84, 12, 0.0), (84, 12, 5.0), (336, 48, 10.0)])
def test_variable_q_agrees_with_nnaudio(bins, per_octave, gamma):
    y = torch.from_numpy(signal("notes"))[None]
    common = dict(hop_length=HOP, fmin=C1, n_bins=bins, bins_per_octave=per_octave, gamma=gamma)
    theirs = VQT(sr=RATE, pad_mode="constant", verbose=False, **common)(y)[0]
    ours = ConstantQ(RATE, HOP, C1, bins, per_octave, gamma=gamma).magnitude(y)[0]
    assert relative_error(ours.numpy(), theirs.numpy()) < 0.03
    assert abs(float((ours * theirs).sum() / (theirs**2).sum()) - 1) < 0.01


@pytest.mark.parametrize("gamma", [20.0, 60.0, 200.0])
def test_wide_low_bins_stay_at_a_rate_that_holds_them(gamma):
    """librosa halves the rate for every octave: bins wider than the lowest rates lose what lies above."""
    y = signal("notes", 16000, fade=4000)
    kernels = octave_kernels(C1 * 2 ** (np.arange(84) / 12), quality_factor(12), RATE, RATE, gamma)
    half = len(kernels) // 2
    rows = np.lib.stride_tricks.sliding_window_view(np.pad(y, half), 2 * half)[::HOP]
    exact = np.abs(rows @ kernels.astype(np.complex64)).T
    ours = ConstantQ(RATE, HOP, C1, 84, 12, gamma=gamma).magnitude(torch.from_numpy(y)[None])[0].numpy()
    theirs = np.abs(librosa.vqt(y, sr=RATE, hop_length=HOP, fmin=C1, n_bins=84, gamma=gamma))
    error = relative_error(ours, exact[:, : ours.shape[1]])
    assert error < 0.12  # kernels of a dozen samples are coarse, in either library
    assert error < relative_error(theirs, exact[:, : ours.shape[1]])


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 1000, 4097])
def test_audio_shorter_than_a_kernel(samples):
    """The longest kernel has 8225 samples. The audio lies in silence, so more zeros change nothing."""
    module, y = ConstantQ(RATE, HOP, C1, 84, 12), torch.from_numpy(signal("noise", samples))[None]
    frames = samples // HOP + 1
    c = module(y)
    assert c.shape == (1, 84, frames)
    padded = module(torch.nn.functional.pad(y, (16 * HOP, 16 * HOP)))[..., 16 : 16 + frames]
    assert (c - padded).norm() < 1e-5 * padded.norm()


def test_level_of_a_sinusoid_on_a_bin_is_the_same_in_every_octave():
    """Amplitude a gives a / 2 * sqrt(L), L = Q * rate / frequency: half-band filters take nothing away."""
    module, time = ConstantQ(RATE, HOP, C1, 84, 12, dtype=torch.float64), np.arange(65536) / RATE
    for f in [0, 11, 12, 23, 35, 47, 59, 71, 72, 83]:
        frequency = C1 * 2 ** (f / 12)
        level = module.magnitude(torch.from_numpy(0.3 * np.cos(2 * np.pi * frequency * time))[None])[
            0, f, 128
        ].item()
        assert level == pytest.approx(0.15 * np.sqrt(quality_factor(12) * RATE / frequency), rel=2e-3)


def test_kernels_are_librosas():
    frequencies = C1 * 2 ** (np.arange(72, 84) / 12)
    alpha = np.full(12, 1 / quality_factor(12))
    basis, lengths = librosa.filters.wavelet(
        freqs=frequencies, sr=RATE, alpha=alpha, pad_fft=True, dtype=np.complex128
    )
    ours = octave_kernels(frequencies, quality_factor(12), RATE, RATE)
    middle, half = basis.shape[1] // 2, len(ours) // 2
    # librosa multiplies spectra, so its kernels run backwards in time.
    theirs = basis[:, middle + half - 1 : middle - half : -1].T * np.sqrt(lengths)
    np.testing.assert_allclose(ours[1:], theirs, atol=1e-9)


@pytest.mark.parametrize("edge", [0.05, 0.14, 0.2, 0.24])
def test_half_band_filter(edge):
    taps = half_band(edge)
    frequency = np.linspace(0, 0.5, 2001)
    response = np.abs(np.exp(-2j * np.pi * frequency[:, None] * np.arange(len(taps))) @ taps)
    assert len(taps) % 4 == 3 and taps.sum() == pytest.approx(1, abs=1e-12)
    assert np.abs(response[frequency <= edge] - 1).max() < 2e-4
    assert response[frequency >= 0.5 - edge].max() < 2e-4


@pytest.mark.parametrize("gamma", [0.0, 4.0, 25.0])
def test_gradient_is_right(gamma):
    module = ConstantQ(800, 8, 50.0, 7, 3, dtype=torch.float64, gamma=gamma)
    x = torch.randn(
        2, 45, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(module, (x,))
    assert torch.autograd.gradcheck(module.magnitude, (x,))


def test_gradient_of_silence_is_zero():
    x = torch.zeros(1, 4000, requires_grad=True)
    ConstantQ(RATE, HOP, C1, 84, 12).magnitude(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_batch_precision_and_state():
    module, double = ConstantQ(RATE, HOP, C1, 84, 12), ConstantQ(RATE, HOP, C1, 84, 12, dtype=torch.float64)
    x = torch.stack([torch.from_numpy(signal(kind, 16000)) for kind in ("notes", "noise")])
    c = module(x)
    torch.testing.assert_close(c[1:], module(x[1:]), atol=1e-5, rtol=1e-5)
    assert double(x).dtype == torch.complex128
    torch.testing.assert_close(c, double(x).to(torch.complex64), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(module.magnitude(x), c.abs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(x), c)
    assert not module.state_dict()  # kernels follow from the settings and are not stored with a model
    if torch.cuda.is_available():
        torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), c, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings, words",
    [
        (dict(hop_length=200), ["hop_length 200", "64", "192 or 256"]),
        (dict(hop_length=32), ["multiple of 64", "use 64."]),
        (dict(n_bins=97, hop_length=512), ["8000 Hz", "fewer bins"]),
        (dict(fmin_hz=0.0), ["above 0"]),
        (dict(gamma=-1.0), ["gamma", "at least 0 Hz, not -1.0"]),
        (dict(gamma=float("nan")), ["gamma", "nan"]),
        (dict(gamma=9000.0), ["8000 Hz", "smaller gamma"]),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, words):
    valid = dict(sample_rate=RATE, hop_length=HOP, fmin_hz=C1, n_bins=84, bins_per_octave=12)
    with pytest.raises(RetimbreError) as caught:
        ConstantQ(**valid | settings)
    assert all(word in str(caught.value) for word in words), caught.value


def test_wrong_shapes_are_refused():
    module = ConstantQ(RATE, HOP, C1, 84, 12)
    for shape in [(4000,), (1, 1, 4000), (1, 0)]:
        with pytest.raises(ValueError, match="shape"):
            module(torch.zeros(shape))
