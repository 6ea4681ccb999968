"""Cases: constant-Q and variable-Q transform, STFT, mel, Griffin-Lim, mu-law, resampling.

Unit: seconds of audio per second (x realtime).
"""

import atexit
import functools
import importlib
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import librosa
import numpy as np
import soxr
import torch

from benchmarks.timing import Case, Route
from retimbre.audio.companding import mu_law_decode, mu_law_encode
from retimbre.audio.cqt import ConstantQ
from retimbre.audio.features import FeatureConfig, FeatureExtractor
from retimbre.audio.spectral import griffin_lim, stft

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
            tone = 0.1 * sum(np.sin(2 * np.pi * k * f0 * on) / k for k in range(1, 6) if k * f0 < 7500)
            x[b] += tone * np.exp(-4 * on) * (t > start)
    return torch.from_numpy(x.astype(np.float32))


def cqt_cases(quick: bool) -> Iterator[Case]:
    from nnAudio.features.cqt import CQT1992v2, CQT2010v2
    from nnAudio.features.vqt import VQT

    shapes = [(84, 12, 4, 4.0), (336, 48, 4, 4.0)]
    if not quick:
        shapes += [(168, 24, 4, 4.0)]
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
    yield _vqt_case(VQT)
    if not quick:
        yield from _growth(CQT2010v2)


def _vqt_case(their_class) -> Case:
    x, gamma = _audio(4, 4.0), 10.0
    x_numpy, ours = x.numpy(), ConstantQ(RATE, HOP, C1_HZ, 84, 12, gamma=gamma)
    common = {"sr": RATE, "hop_length": HOP, "fmin": C1_HZ, "n_bins": 84, "gamma": gamma}
    theirs = their_class(**common, pad_mode="constant", verbose=False)
    routes = [
        Route("retimbre ConstantQ(gamma)", lambda: ours.magnitude(x), 16),
        Route("librosa.vqt", lambda: np.abs(librosa.vqt(x_numpy, **common)), 16),
        Route("nnAudio VQT", lambda: theirs(x), 16),
    ]
    return Case("VQT", "84 bins, gamma 10 Hz, 4 x 4 s", "x realtime", routes, "librosa.vqt")


def _growth(their_class) -> Iterator[Case]:
    """Cost of 84 bins by length, batch and threads.

    An hour would take nnAudio minutes a call: it stops at a minute.
    """
    ours = ConstantQ(RATE, HOP, C1_HZ, 84, 12)
    common = {"sr": RATE, "hop_length": HOP, "fmin": C1_HZ, "n_bins": 84, "bins_per_octave": 12}
    theirs = their_class(**common, verbose=False)
    minute = _audio(1, 60.0)
    for seconds in (0.1, 1, 10, 60, 600, 3600):
        x = minute.repeat(1, max(1, seconds // 60 if seconds >= 60 else 1))[:, : int(seconds * RATE)]
        y = x.numpy()
        routes = [
            Route("retimbre ConstantQ", lambda x=x: ours.magnitude(x), seconds),
            Route("librosa.cqt", lambda y=y: np.abs(librosa.cqt(y, **common)), seconds),
        ]
        if 1 <= seconds <= 60:  # its reflecting pad needs audio that is longer than the longest kernel's half
            routes.append(Route("nnAudio CQT2010v2", lambda x=x: theirs(x), seconds))
        yield Case("CQT growth", f"1 x {seconds:g} s", "x realtime", routes, "librosa.cqt")
    for batch in (1, 16, 64):
        x = minute[:, : 4 * RATE].repeat(batch, 1)
        y = x.numpy()
        routes = [
            Route("retimbre ConstantQ", lambda x=x: ours.magnitude(x), 4 * batch),
            Route("librosa.cqt", lambda y=y: np.abs(librosa.cqt(y, **common)), 4 * batch),
            Route("nnAudio CQT2010v2", lambda x=x: theirs(x), 4 * batch),
        ]
        yield Case("CQT growth", f"{batch} x 4 s", "x realtime", routes, "librosa.cqt")
    x = minute[:, : 4 * RATE].repeat(16, 1)

    def threaded(call, threads: int):
        torch.set_num_threads(threads)
        try:
            return call(x)
        finally:
            torch.set_num_threads(1)

    routes = [
        Route(f"retimbre ConstantQ, {name}", lambda n=threads: threaded(ours.magnitude, n), 64)
        for threads, name in ((1, "1 thread"), (2, "2 threads"))
    ]
    routes.append(Route("nnAudio CQT2010v2, 2 threads", lambda: threaded(theirs, 2), 64))
    routes.append(Route("librosa.cqt", lambda: np.abs(librosa.cqt(x.numpy(), **common)), 64))
    yield Case("CQT growth", "16 x 4 s, wall time", "x realtime", routes, "librosa.cqt", threads=2)


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
    yield _mel_case(x, torchaudio)
    yield _griffin_lim_case(x, torchaudio)
    yield _mu_law_case(x, torchaudio)


def _mel_case(x: torch.Tensor, torchaudio) -> Case:
    from nnAudio.features.mel import MelSpectrogram

    config = FeatureConfig(RATE, HOP, "retimbre", C1_HZ, 84, 12, stft_n_fft=1024, mel_bins=80, range_db=80.0)
    ours, bins, y = FeatureExtractor(config), config.mel_bins, x.numpy()
    same = {"sr": RATE, "hop_length": HOP, "n_fft": 1024, "n_mels": bins}
    theirs = MelSpectrogram(**same, power=1.0, verbose=False)
    routes = [
        Route("retimbre mel", lambda: ours(x, "mel"), 16),
        Route("librosa melspectrogram", lambda: librosa.feature.melspectrogram(y=y, **same), 16),
        Route("nnAudio MelSpectrogram", lambda: theirs(x), 16),
    ]
    if torchaudio:
        mel = torchaudio.transforms.MelSpectrogram(RATE, 1024, hop_length=HOP, n_mels=bins, power=1.0)
        routes.append(Route("torchaudio MelSpectrogram", lambda: mel(x), 16))
    note = "" if torchaudio else NO_TORCHAUDIO
    return Case("mel", f"{bins} bins, 4 x 4 s", "x realtime", routes, "librosa melspectrogram", note=note)


def _griffin_lim_case(x: torch.Tensor, torchaudio) -> Case:
    """The same number of iterations with the same momentum."""
    magnitude, n = stft(x[:1], 1024, HOP).abs(), x.shape[1]
    m = magnitude[0].numpy()
    same = {"n_iter": 32, "hop_length": HOP, "length": n, "pad_mode": "constant"}
    routes = [
        Route("retimbre griffin_lim", lambda: griffin_lim(magnitude, 1024, HOP, n, 32), 4),
        Route("librosa.griffinlim", lambda: librosa.griffinlim(m, **same), 4),
    ]
    if torchaudio:
        theirs = torchaudio.transforms.GriffinLim(1024, n_iter=32, hop_length=HOP, power=1.0)
        routes.append(Route("torchaudio GriffinLim", lambda: theirs(magnitude), 4))
    name, note = "1024/256, 32 iterations", "" if torchaudio else NO_TORCHAUDIO
    return Case("Griffin-Lim", name, "x realtime", routes, "librosa.griffinlim", note=note)


def _mu_law_case(x: torch.Tensor, torchaudio) -> Case:
    y, peer = x.numpy(), "librosa mu_compress, mu_expand"
    routes = [
        Route("retimbre mu_law_encode, decode", lambda: mu_law_decode(mu_law_encode(x)), 16),
        Route(peer, lambda: librosa.mu_expand(librosa.mu_compress(np.clip(y, -1, 1))), 16),
    ]
    if torchaudio:
        encode, decode = torchaudio.transforms.MuLawEncoding(), torchaudio.transforms.MuLawDecoding()
        routes.append(Route("torchaudio MuLawEncoding, Decoding", lambda: decode(encode(x)), 16))
    note = "" if torchaudio else NO_TORCHAUDIO
    return Case("mu-law", "there and back, 4 x 4 s", "x realtime", routes, peer, note=note)


def resample_cases(quick: bool) -> Iterator[Case]:
    x = np.random.default_rng(0).standard_normal(44100 * 10).astype(np.float32)
    rates = {"orig_sr": 44100, "target_sr": RATE}
    routes = [
        Route("retimbre (soxr HQ)", lambda: soxr.resample(x, 44100, RATE, quality="HQ"), 10),
        Route("librosa soxr_hq", lambda: librosa.resample(x, **rates), 10),
        Route("librosa polyphase", lambda: librosa.resample(x, **rates, res_type="polyphase"), 10),
    ]
    torchaudio = _torchaudio()
    if torchaudio:
        sinc = torchaudio.transforms.Resample(44100, RATE)
        tensor = torch.from_numpy(x)
        routes.append(Route("torchaudio Resample (short sinc)", lambda: sinc(tensor), 10))
    note = "" if torchaudio else NO_TORCHAUDIO
    yield Case("resampling", "44.1 to 16 kHz, 10 s", "x realtime", routes, "librosa soxr_hq", note=note)


@functools.cache
def _torchaudio():
    """torchaudio or None.

    Its only wheel is built with CUDA and does not load beside a CPU torch; a private copy without its
    compiled files does, with the transforms that are measured here, which are plain torch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("torchaudio.transforms") and importlib.import_module("torchaudio")
        except (ImportError, OSError):
            pass
        spec = importlib.util.find_spec("torchaudio")
        if spec is None:
            return None
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        whole, without = spec.submodule_search_locations[0], shutil.ignore_patterns("lib", "*.so")
        shutil.copytree(whole, Path(folder) / "torchaudio", ignore=without)
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("torchaudio.transforms") and importlib.import_module("torchaudio")
        except (ImportError, OSError):
            return None
        finally:
            sys.path.remove(folder)
