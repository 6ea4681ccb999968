"""Cases: constant-Q transform, STFT, resampling. Unit: seconds of audio per second (x realtime)."""

import warnings
from collections.abc import Iterator

import librosa
import numpy as np
import soxr
import torch

from benchmarks.timing import Case, Route
from retimbre.audio.cqt import ConstantQ
from retimbre.audio.spectral import stft

RATE, HOP, C1_HZ = 16000, 256, 32.7031956626
NO_TORCHAUDIO = "torchaudio cannot be imported beside this torch"


def _audio(batch: int, seconds: float) -> torch.Tensor:
    """Decaying harmonic notes and a little noise: (B, N)."""
    random = np.random.default_rng(0)
    t = np.arange(int(seconds * RATE)) / RATE
    x = 0.001 * random.standard_normal((batch, len(t)))
    for b in range(batch):
        for start in np.arange(0, seconds, 0.5):
            f0 = 440 * 2 ** (random.integers(-24, 12) / 12)
            on = np.maximum(t - start, 0)
            x[b] += 0.1 * sum(np.sin(2 * np.pi * k * f0 * on) / k for k in range(1, 6) if k * f0 < 7500) * np.exp(-4 * on) * (t > start)
    return torch.from_numpy(x.astype(np.float32))


def cqt_cases(quick: bool) -> Iterator[Case]:
    from nnAudio.features.cqt import CQT1992v2, CQT2010v2

    shapes = [(84, 12, 4, 4.0), (336, 48, 4, 4.0)]
    if not quick:
        shapes += [(84, 12, 1, 1.0), (84, 12, 1, 60.0), (168, 24, 4, 4.0)]
    for bins, per_octave, batch, seconds in shapes:
        x = _audio(batch, seconds)
        x_numpy = x.numpy()
        ours = ConstantQ(RATE, HOP, C1_HZ, bins, per_octave)
        common = {"sr": RATE, "hop_length": HOP, "fmin": C1_HZ, "n_bins": bins, "bins_per_octave": per_octave}
        pyramid = CQT2010v2(**common, verbose=False)

        def by_librosa(x_numpy=x_numpy, common=common):
            return np.abs(librosa.cqt(x_numpy, **common))

        routes = [
            Route("retimbre ConstantQ", lambda ours=ours, x=x: ours.magnitude(x), batch * seconds),
            Route("librosa.cqt", by_librosa, batch * seconds),
            Route("nnAudio CQT2010v2", lambda pyramid=pyramid, x=x: pyramid(x), batch * seconds),
        ]
        if bins == 84:  # at 336 its kernels take half a minute to make
            full = CQT1992v2(**common, verbose=False)
            routes.append(Route("nnAudio CQT1992v2", lambda full=full, x=x: full(x), batch * seconds))
        yield Case("CQT", f"{bins} bins, {batch} x {seconds:g} s", "x realtime", routes, "librosa.cqt")


def stft_cases(quick: bool) -> Iterator[Case]:
    from nnAudio.features.stft import STFT

    x = _audio(4, 4.0)
    x_numpy = x.numpy()
    convolution = STFT(n_fft=1024, hop_length=HOP, output_format="Complex", verbose=False)
    routes = [
        Route("retimbre stft (torch)", lambda: stft(x, 1024, HOP), 16),
        Route("librosa.stft", lambda: librosa.stft(x_numpy, n_fft=1024, hop_length=HOP), 16),
        Route("nnAudio STFT", lambda: convolution(x), 16),
    ]
    torchaudio = _torchaudio()
    if torchaudio:
        spectrogram = torchaudio.transforms.Spectrogram(1024, hop_length=HOP, power=None)
        routes.append(Route("torchaudio Spectrogram", lambda: spectrogram(x), 16))
    note = "" if torchaudio else NO_TORCHAUDIO
    yield Case("STFT", "1024/256, 4 x 4 s", "x realtime", routes, "librosa.stft", note=note)


def resample_cases(quick: bool) -> Iterator[Case]:
    x = np.random.default_rng(0).standard_normal(44100 * 10).astype(np.float32)
    routes = [
        Route("retimbre (soxr HQ)", lambda: soxr.resample(x, 44100, RATE, quality="HQ"), 10),
        Route("librosa soxr_hq", lambda: librosa.resample(x, orig_sr=44100, target_sr=RATE), 10),
        Route("librosa polyphase", lambda: librosa.resample(x, orig_sr=44100, target_sr=RATE, res_type="polyphase"), 10),
    ]
    torchaudio = _torchaudio()
    if torchaudio:
        sinc = torchaudio.transforms.Resample(44100, RATE)
        tensor = torch.from_numpy(x)
        routes.append(Route("torchaudio Resample (short sinc)", lambda: sinc(tensor), 10))
    note = "" if torchaudio else NO_TORCHAUDIO
    yield Case("resampling", "44.1 to 16 kHz, 10 s", "x realtime", routes, "librosa soxr_hq", note=note)


def _torchaudio():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchaudio
            import torchaudio.transforms
    except (ImportError, OSError):  # its wheel is built for another torch
        return None
    return torchaudio
