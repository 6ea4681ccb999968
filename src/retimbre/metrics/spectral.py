"""Distances, similarities and failure detectors of timbre transfer; pure functions.

What is measured
----------------
A transfer keeps the notes and changes the instrument. So a result is always read as *content kept*
(``content_*``) together with *timbre reached* (``paired_*`` against a recording of the same notes on
the target instrument), beside control rows. Elsewhere: notes in :mod:`.pitch`, harmony and rhythm in :mod:`.content`,
judges in :mod:`.judges` and :mod:`.second_opinion`, sets of clips in :mod:`.distribution`, signal quality in :mod:`.quality`.

Conventions
-----------
* Waveforms are mono float arrays of shape (N,), full scale 1, all at ``sample_rate`` (16 kHz unless
  said). ``match_length`` cuts or zero-pads an output to its reference before anything is compared.
* Features are arrays of shape (F, T) in dB, F frequency bins and T frames.
* Spectral metrics equalise the level first (``rms = 1``), loudness metrics never do.
* Order of arguments: the output under test first, what it is compared with second.
* Silence: a silent waveform cannot be levelled and stays silent, so it is far from any sound and at
  distance 0 from silence. Similarities are 0 for a silent output. Where the *reference* is silent a
  similarity is undefined and NaN is returned; the table leaves such values out.

Metrics
-------
* :func:`feature_lsd`: log-spectral distance of two features, dB, 0 is best.
* :func:`content_chroma_ratio`, :func:`content_peak_ratio`: pitch-class likeness to the source, relative to the true target's.
* :func:`content_loud_l1`, :func:`content_loud_corr`: dynamics kept.
* :func:`pitch_class_distance`: circular distance of pitch classes, semitones.
* :func:`paired_lsd`, :func:`paired_lsd_frame`, :func:`paired_mel_l1_db`, :func:`paired_mrstft`, :func:`paired_timbre`.
* :func:`fail_muted`, :func:`fail_unchanged`, :func:`fail_level`, :func:`fail_collapsed`: the failures to look for.
"""

import warnings
from functools import lru_cache

import auraloss
import librosa
import numpy as np
import pyloudnorm
import torch
from scipy.spatial.distance import pdist

from retimbre.metrics.memory import kept_by_content

LSD_MEL_BANDS = 128  # librosa's default, as ss-vq-vae
LOG_MEL_BANDS = 80
DDSP_FRAME_RATE_HZ = 250
LOUDNESS_RANGE_DB = 80.0
ACTIVE_RANGE_DB = 50.0  # a frame is active when it is at most this far below the loudest frame
KEPT = 64  # recordings whose spectra are kept
LUFS_BLOCK_S = 0.4  # the gating block of ITU-R BS.1770


def validate(output: np.ndarray, reference: np.ndarray, ndim: int) -> None:
    """Raise ValueError unless both are finite arrays of the same shape with ``ndim`` axes."""
    for name, array in (("output", output), ("reference", reference)):
        if array.ndim != ndim or array.size == 0:
            raise ValueError(f"{name} must be a filled array with {ndim} axes, not one of shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
    if output.shape != reference.shape:
        raise ValueError(f"output has shape {output.shape}, reference {reference.shape}: cut or pad them to one length first")


def match_length(output: np.ndarray, length: int) -> np.ndarray:
    """Cut or zero-pad a waveform (N,) to ``length`` samples."""
    return output[:length] if len(output) >= length else np.pad(output, (0, length - len(output)))


def level(audio: np.ndarray) -> np.ndarray:
    """Scale to a root mean square of 1; silence is returned as it is."""
    audio = audio.astype(np.float64)
    rms = np.sqrt(np.mean(audio**2))
    return audio / rms if rms > 0 else audio


# --------------------------------------------------------------------------------- feature domain


def feature_lsd(output_db: np.ndarray, reference_db: np.ndarray, top_db: float, range_db: float = 60.0) -> float:
    """Log-spectral distance in dB: root mean square over bins per frame, mean over frames.

    Both (F, T) are first clipped to [top_db - range_db, top_db], so that differences far below what
    is audible do not count (Gray & Markel 1976; the clipping as in this project's prototype).
    """
    validate(output_db, reference_db, 2)
    difference = np.clip(output_db, top_db - range_db, top_db).astype(np.float64) - np.clip(reference_db, top_db - range_db, top_db)
    return float(np.sqrt((difference**2).mean(axis=0)).mean())


def chroma(cqt_db: np.ndarray, bins_per_octave: int) -> np.ndarray:
    """Magnitude per pitch class, (F, T) constant-Q dB -> (12, T); class 0 is the lowest bin's."""
    classes = np.arange(len(cqt_db)) % bins_per_octave * 12 // bins_per_octave
    magnitude = 10.0 ** (cqt_db.astype(np.float64) / 20.0)
    return np.stack([magnitude[classes == k].sum(axis=0) for k in range(12)])


def _sounding(cqt_db: np.ndarray) -> np.ndarray:
    """Frames (T,) whose loudest bin is within ACTIVE_RANGE_DB of the loudest of all."""
    peak = cqt_db.max(axis=0)
    return peak > max(peak.max() - ACTIVE_RANGE_DB, -90.0)


def chroma_correlation(output_db: np.ndarray, source_db: np.ndarray, bins_per_octave: int) -> float:
    """Correlation over the 12 pitch classes of output and source, mean over the source's sounding frames.

    1: same pitch classes in the same proportions. A silent frame of the output counts 0. NaN when
    the source is silent throughout.
    """
    validate(output_db, source_db, 2)
    frames = _sounding(source_db)
    if not frames.any():
        return float("nan")
    a, b = (chroma(x, bins_per_octave)[:, frames] for x in (output_db, source_db))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float(((a * b).sum(axis=0) / (np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)) + 1e-9)).mean())


def peak_agreement(output_db: np.ndarray, source_db: np.ndarray, bins_per_octave: int) -> float:
    """Share of the source's sounding frames whose strongest pitch class is the output's as well.

    A silent frame of the output has no strongest class and counts as a miss.
    """
    validate(output_db, source_db, 2)
    frames = _sounding(source_db)
    if not frames.any():
        return float("nan")
    a, b = (chroma(x, bins_per_octave)[:, frames] for x in (output_db, source_db))
    audible = np.ptp(a, axis=0) > 1e-4
    return float(((a.argmax(axis=0) == b.argmax(axis=0)) & audible).mean())


def _ratio(value: float, ceiling: float) -> float:
    return value / ceiling if np.isfinite(ceiling) and ceiling > 0 else float("nan")


def content_chroma_ratio(output_db: np.ndarray, source_db: np.ndarray, target_db: np.ndarray, bins_per_octave: int) -> float:
    """:func:`chroma_correlation` of the output divided by that of the true target.

    1: as like the source as the target instrument is when it plays these notes; above 1: closer than
    that. All three are constant-Q features (F, T) in dB.
    """
    return _ratio(chroma_correlation(output_db, source_db, bins_per_octave), chroma_correlation(target_db, source_db, bins_per_octave))


def content_peak_ratio(output_db: np.ndarray, source_db: np.ndarray, target_db: np.ndarray, bins_per_octave: int) -> float:
    """:func:`peak_agreement` of the output divided by that of the true target."""
    return _ratio(peak_agreement(output_db, source_db, bins_per_octave), peak_agreement(target_db, source_db, bins_per_octave))


def pitch_class_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Circular distance of pitch classes or MIDI pitches in semitones, 0 to 6: B to C is 1, not 11."""
    difference = np.abs(np.asarray(a) - np.asarray(b)) % 12
    return np.minimum(difference, 12 - difference)


# ---------------------------------------------------------------------- waveform, against the target


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
    difference = _lsd_mel_db(output, sample_rate) - _lsd_mel_db(target, sample_rate)
    return float(np.sqrt((difference**2).mean(axis=0)).mean())


def paired_mel_l1_db(output: np.ndarray, target: np.ndarray, sample_rate: int, range_db: float = 60.0) -> float:
    """Mean absolute difference of 80-band log-mel magnitudes in dB, levelled, floor 60 dB below the target's peak.

    Silence on both sides gives 0.
    """
    validate(output, target, 1)
    settings = {"sr": sample_rate, "n_fft": 1024, "hop_length": 256, "n_mels": LOG_MEL_BANDS, "power": 1.0}
    mels = [librosa.amplitude_to_db(librosa.feature.melspectrogram(y=level(x), **settings), top_db=None) for x in (output, target)]
    top = mels[1].max()
    return float(np.abs(np.clip(mels[0], top - range_db, top) - np.clip(mels[1], top - range_db, top)).mean())


@lru_cache(maxsize=1)
def _mrstft() -> torch.nn.Module:
    return auraloss.freq.MultiResolutionSTFTLoss(fft_sizes=[512, 1024, 2048], hop_sizes=[128, 256, 512], win_lengths=[512, 1024, 2048])


def paired_mrstft(output: np.ndarray, target: np.ndarray, sample_rate: int = 16000) -> float:
    """Multi-resolution STFT distance: spectral convergence + L1 of log magnitudes (Yamamoto et al. 2020; auraloss).

    FFT sizes 512, 1024, 2048 with hops of a quarter, both signals levelled. NaN for a silent target.
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
    a, b = (librosa.feature.mfcc(y=level(x), sr=sample_rate, n_mfcc=13, hop_length=500)[1:].mean(axis=1) for x in (output, target))
    return float(1.0 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-12))


# ---------------------------------------------------------------------------------------- dynamics


@kept_by_content(KEPT)
def loudness_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """A-weighted power per frame in dB, (T,) at 250 frames/s, floor 80 dB under full scale (DDSP, Engel et al. 2020). Kept by content."""
    n_fft, hop = 512, max(1, round(sample_rate / DDSP_FRAME_RATE_HZ))
    power = np.abs(librosa.stft(audio.astype(np.float64), n_fft=n_fft, hop_length=hop)) ** 2
    weights = librosa.A_weighting(np.maximum(librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft), 1.0))
    mean_power = (power * 10.0 ** (weights[:, None] / 10.0)).mean(axis=0) / (n_fft / 4)  # a full-scale sine is near 0 dB
    return np.maximum(10.0 * np.log10(np.maximum(mean_power, 1e-20)), -LOUDNESS_RANGE_DB)


def content_loud_l1(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of the loudness curves in dB; levels are compared as they are."""
    validate(output, source, 1)
    return float(np.abs(loudness_db(output, sample_rate) - loudness_db(source, sample_rate)).mean())


def content_loud_corr(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Pearson correlation of the loudness curves, -1 to 1; 0 for a constant output, NaN for a constant source."""
    validate(output, source, 1)
    a, b = loudness_db(output, sample_rate), loudness_db(source, sample_rate)
    if b.std() < 1e-6:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 1e-6 else 0.0


def loudness_lufs(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770, pyloudnorm) in LUFS; -inf for silence; short clips are repeated to one block."""
    if not np.any(audio):
        return float("-inf")
    repeats = int(np.ceil(LUFS_BLOCK_S * sample_rate / len(audio))) + 1 if len(audio) <= LUFS_BLOCK_S * sample_rate else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # near-silence: pyloudnorm warns and answers -inf
        return float(pyloudnorm.Meter(sample_rate).integrated_loudness(np.tile(audio.astype(np.float64), repeats)))


# -------------------------------------------------------------------------------- failure detectors


def active_share(audio: np.ndarray, threshold: float, frame: int = 512) -> float:
    """Share of frames of ``frame`` samples whose RMS is above ``threshold`` (linear)."""
    frames = np.pad(audio.astype(np.float64), (0, -len(audio) % frame)).reshape(-1, frame)
    return float((np.sqrt((frames**2).mean(axis=1)) > threshold).mean())


def fail_muted(output: np.ndarray, source: np.ndarray) -> float:
    """1 when the output is active in less than half as many frames as the source, else 0.

    Active: within ACTIVE_RANGE_DB of the source's RMS peak. A silent source cannot be muted: 0.
    """
    frames = np.pad(source.astype(np.float64), (0, -len(source) % 512)).reshape(-1, 512)
    threshold = np.sqrt((frames**2).mean(axis=1)).max() * 10 ** (-ACTIVE_RANGE_DB / 20)
    return float(threshold > 0 and active_share(output, threshold) < 0.5 * active_share(source, threshold))


def fail_unchanged(distance_to_source: float, real_distances: np.ndarray) -> float:
    """1 when the output is nearer to its source than the 5th percentile of real (source, oracle) distances.

    Both distances are :func:`paired_lsd` to the source; of few real ones the nearest is taken. 1 does not say
    that nothing happened: it says that less changed than when another instrument plays these notes.
    """
    return float(distance_to_source < np.percentile(real_distances, 5, method="lower"))


def fail_level(output: np.ndarray, source: np.ndarray, sample_rate: int, limit_lu: float = 6.0) -> float:
    """1 when the integrated loudness changed by more than ``limit_lu``; silence against silence is 0."""
    a, b = loudness_lufs(output, sample_rate), loudness_lufs(source, sample_rate)
    if np.isneginf(a) or np.isneginf(b):
        return float(a != b)
    return float(abs(a - b) > limit_lu)


def fail_collapsed(outputs: np.ndarray, targets: np.ndarray) -> float:
    """1 when outputs (n, d) are on average less than half as far from each other as real target clips (m, d)."""
    if len(outputs) < 2 or len(targets) < 2:
        return 0.0
    return float(pdist(outputs).mean() < 0.5 * pdist(targets).mean())
