"""Distances to the true target, dynamics, and failure detectors of timbre transfer; pure functions of arrays.

Conventions
-----------
* Waveforms are mono float arrays of shape (N,), full scale 1, all at ``sample_rate`` (16 kHz unless said).
  ``match_length`` cuts or zero-pads an output to its reference before anything is compared.
* Spectra are arrays of shape (F, T) in dB, F frequency bins and T frames.
* Spectral metrics equalise the level first (``rms = 1``), loudness metrics never do.
* Order of arguments: the output under test first, what it is compared with second.
* Silence: a silent waveform cannot be levelled and stays silent, so it is far from any sound and at distance
  0 from silence. Similarities are 0 for a silent output. Where the *reference* is silent a similarity is
  undefined and NaN is returned; the table leaves such values out.

What each metric is for is in :mod:`retimbre.metrics.catalogue`.
"""

from functools import lru_cache

import auraloss
import librosa
import numpy as np
import torch
from scipy.spatial.distance import pdist

from retimbre.audio.distances import log_spectral_distance
from retimbre.audio.levels import loudness_lufs, rms
from retimbre.metrics.memory import kept_by_content

LSD_MEL_BANDS = 128  # librosa's default, as ss-vq-vae
LOG_MEL_BANDS, LOG_MEL_RANGE_DB = 80, 60.0
DDSP_FRAME_RATE_HZ = 250
LOUDNESS_RANGE_DB = 80.0
ACTIVE_RANGE_DB = 50.0  # a frame is active when it is at most this far below the loudest frame
LEVEL_LU = 6.0  # change of loudness that is a failure
MOST_SHIFT = 2  # frames: 32 ms
KEPT = 64  # recordings whose spectra are kept
FRAME = 512  # samples, of what is active


def validate(output: np.ndarray, reference: np.ndarray, ndim: int) -> None:
    """Raise ValueError unless both are finite arrays of the same shape with ``ndim`` axes."""
    for name, array in (("output", output), ("reference", reference)):
        if array.ndim != ndim or array.size == 0:
            raise ValueError(f"{name} must be a filled array with {ndim} axes, not of shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
    if output.shape != reference.shape:
        shapes = f"output has shape {output.shape}, reference {reference.shape}"
        raise ValueError(f"{shapes}: cut or pad them first")


def match_length(output: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad a waveform (N,) to ``length`` samples."""
    return output[:length] if len(output) >= length else np.pad(output, (0, length - len(output)))


def level(audio: np.ndarray) -> np.ndarray:
    """Scale to a root mean square of 1; silence is returned as it is."""
    now = rms(audio)
    return audio.astype(np.float64) / (now if now > 0 else 1.0)


# ------------------------------------------------------------------------ against the true target


def feature_lsd(output_db: np.ndarray, target_db: np.ndarray, top_db: float, range_db: float = 60.0) -> float:
    """Log-spectral distance in dB: root mean square over bins per frame, mean over frames.

    Both (F, T) are first clipped to [top_db - range_db, top_db], so that differences far below what is
    audible do not count (Gray & Markel 1976).
    """
    validate(output_db, target_db, 2)
    return log_spectral_distance(*(x.clip(top_db - range_db, top_db) for x in (output_db, target_db)))


def aligned(output: np.ndarray, reference: np.ndarray, late: int) -> tuple[np.ndarray, np.ndarray]:
    """Both without what the other lacks along the last axis, when the output is ``late`` places behind."""
    length = min(output.shape[-1], reference.shape[-1]) - abs(late)
    first, second = max(late, 0), max(-late, 0)
    return output[..., first : first + length], reference[..., second : second + length]


def best_shift(
    output_db: np.ndarray, target_db: np.ndarray, top_db: float, range_db: float = 60.0
) -> tuple[int, float]:
    """Frames within MOST_SHIFT by which an output is late, and its :func:`feature_lsd` once it is not.

    The shift with the smallest distance, the nearest to 0 of equal ones. How soon a target speaks after its
    key no system can know that has not seen pairs.
    """
    most = min(MOST_SHIFT, (output_db.shape[1] - 1) // 2)
    distances = {
        late: feature_lsd(*aligned(output_db, target_db, late), top_db, range_db)
        for late in sorted(range(-most, most + 1), key=abs)
    }
    return min(distances.items(), key=lambda found: found[1])


@kept_by_content(KEPT)
def _lsd_mel_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=level(audio), sr=sample_rate, n_mels=LSD_MEL_BANDS)
    return librosa.power_to_db(power, top_db=80.0)


def paired_lsd(output: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Log-spectral distance in dB as in ss-vq-vae (Cífka et al., ICASSP 2021, its evaluation script).

    128 mel bands (librosa's defaults) of the levelled audio, 80 dB range; squared difference averaged
    over *time*, root, mean over bands.
    """
    validate(output, target, 1)
    difference = _lsd_mel_db(output, sample_rate) - _lsd_mel_db(target, sample_rate)
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


def paired_lsd_frame(output: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """The more usual order: squared difference averaged over bands, root, mean over frames (dB)."""
    validate(output, target, 1)
    return log_spectral_distance(_lsd_mel_db(output, sample_rate), _lsd_mel_db(target, sample_rate))


def paired_mel_l1_db(output: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference in dB of levelled 80-band log-mel spectra.

    Their floor is 60 dB under the target's peak. Silence on both sides gives 0.
    """
    validate(output, target, 1)
    settings = {"sr": sample_rate, "n_fft": 1024, "hop_length": 256, "n_mels": LOG_MEL_BANDS, "power": 1.0}
    magnitudes = (librosa.feature.melspectrogram(y=level(x), **settings) for x in (output, target))
    ours, theirs = (librosa.amplitude_to_db(x, top_db=None) for x in magnitudes)
    top = theirs.max()
    low = top - LOG_MEL_RANGE_DB
    return float(np.abs(ours.clip(low, top) - theirs.clip(low, top)).mean())


@lru_cache(maxsize=1)
def _mrstft() -> torch.nn.Module:
    sizes, hops = [512, 1024, 2048], [128, 256, 512]
    return auraloss.freq.MultiResolutionSTFTLoss(fft_sizes=sizes, hop_sizes=hops, win_lengths=sizes)


def paired_mrstft(output: np.ndarray, target: np.ndarray) -> float:
    """Multi-resolution STFT distance: spectral convergence + L1 of log magnitudes.

    FFT sizes 512, 1024, 2048 with hops of a quarter, both signals levelled. NaN for a silent target. Yamamoto
    et al. 2020 (auraloss).
    """
    validate(output, target, 1)
    if not np.any(target):
        return float("nan")
    x, y = (torch.from_numpy(level(v)).float()[None, None] for v in (output, target))
    with torch.no_grad():
        return float(_mrstft()(x, y))


def paired_timbre(output: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Timbre distance, 0 to 2: 1 - cosine of the time-mean MFCC 1..12 (c0, the level, dropped), hop 500.

    The input of ss-vq-vae's timbre network (Cífka et al. 2021), compared without the network. Silence
    has no timbre: NaN for a silent target, 1 for a silent output.
    """
    validate(output, target, 1)
    if not np.any(target):
        return float("nan")
    if not np.any(output):
        return 1.0
    settings = {"sr": sample_rate, "n_mfcc": 13, "hop_length": 500}
    mfcc = (librosa.feature.mfcc(y=level(x), **settings) for x in (output, target))
    a, b = (x[1:].mean(axis=1) for x in mfcc)
    return float(1.0 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))


# ---------------------------------------------------------------------------------------- dynamics


@kept_by_content(KEPT)
def loudness_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """A-weighted power per frame in dB, (T,) at 250 frames/s, floor 80 dB under full scale.

    As in DDSP (Engel et al. 2020).
    """
    n_fft, hop = 512, max(1, round(sample_rate / DDSP_FRAME_RATE_HZ))
    power = np.abs(librosa.stft(audio.astype(np.float64), n_fft=n_fft, hop_length=hop)) ** 2
    weights = librosa.A_weighting(np.maximum(librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft), 1.0))
    weighted = power * 10.0 ** (weights[:, None] / 10.0)
    mean_power = weighted.mean(axis=0) / (n_fft / 4)  # a full sine is near 0 dB
    return np.maximum(10.0 * np.log10(np.maximum(mean_power, 1e-20)), -LOUDNESS_RANGE_DB)


def content_loud_l1(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of the loudness curves in dB; levels are compared as they are."""
    validate(output, source, 1)
    return float(np.abs(loudness_db(output, sample_rate) - loudness_db(source, sample_rate)).mean())


def content_loud_corr(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Pearson correlation of the loudness curves; 0 for a constant output, NaN for a constant source."""
    validate(output, source, 1)
    a, b = loudness_db(output, sample_rate), loudness_db(source, sample_rate)
    if b.std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 else 0.0


# -------------------------------------------------------------------------------- failure detectors


def frame_rms(audio: np.ndarray) -> np.ndarray:
    """Root mean square (T,) of frames of 512 samples of audio (N,), the last one zero-padded."""
    frames = np.pad(audio.astype(np.float64), (0, -len(audio) % FRAME)).reshape(-1, FRAME)
    return np.sqrt((frames**2).mean(axis=1))


def fail_muted(output: np.ndarray, source: np.ndarray) -> float:
    """1 when the output is active in less than half as many frames as the source, else 0.

    Active: within ACTIVE_RANGE_DB of the source's RMS peak. A silent source cannot be muted: 0.
    """
    ours, theirs = frame_rms(output), frame_rms(source)
    threshold = theirs.max() * 10 ** (-ACTIVE_RANGE_DB / 20)
    return float(threshold > 0 and (ours > threshold).mean() < 0.5 * (theirs > threshold).mean())


def fail_unchanged(distance_to_source: float, real_distances: np.ndarray) -> float:
    """1 when the output is nearer to its source than the 5th percentile of real (source, oracle) distances.

    Both distances are :func:`paired_lsd` to the source; of few real ones the nearest is taken. 1 does not say
    that nothing happened: it says that less changed than when another instrument plays these notes.
    """
    return float(distance_to_source < np.percentile(real_distances, 5, method="lower"))


def fail_level(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """1 when the integrated loudness changed by more than 6 LU; silence counts as -70 LUFS."""
    return float(abs(loudness_lufs(output, sample_rate) - loudness_lufs(source, sample_rate)) > LEVEL_LU)


def fail_collapsed(outputs: np.ndarray, targets: np.ndarray) -> float:
    """1 when outputs (n, d) are on average less than half as far apart as real target clips (m, d)."""
    if len(outputs) < 2 or len(targets) < 2:
        return 0.0
    return float(pdist(outputs).mean() < 0.5 * pdist(targets).mean())
