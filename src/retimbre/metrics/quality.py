"""Signal quality without a reference: hygiene of the waveform, and how consistent its spectrogram is.

No value of these is good in itself: compare with recordings (the oracle's row). All are computed on the
decoded waveform (N,), full scale 1, as it is: nothing is levelled.
"""

import librosa
import numpy as np
import torch

from retimbre.audio.levels import loudness_lufs
from retimbre.audio.spectral import griffin_lim, spsi_phase
from retimbre.metrics.spectral import frame_rms

CLIPPED = 0.999  # of full scale
SILENCE_DB = -60.0  # RMS of a frame under which it is silent
HIGH_HZ = 4000.0
PROJECTION_ITERATIONS = 8
LOG_FLOOR = -10.0  # nepers under the peak at which TiFGAN cuts log magnitudes


def quality_clip(audio: np.ndarray) -> float:
    """Share of samples at or above 0.999 of full scale."""
    return float((np.abs(audio) >= CLIPPED).mean())


def quality_silence(audio: np.ndarray) -> float:
    """Share of frames of 512 samples whose RMS is under -60 dB of full scale."""
    return float((frame_rms(audio) < 10 ** (SILENCE_DB / 20)).mean())


def quality_lufs_delta(output: np.ndarray, source: np.ndarray, sample_rate: int) -> float:
    """Loudness of the output minus the source's in LU; silence counts as -70 LUFS.

    ITU-R BS.1770, by pyloudnorm.
    """
    return loudness_lufs(output, sample_rate) - loudness_lufs(source, sample_rate)


def quality_hf_ratio(audio: np.ndarray, sample_rate: int) -> float:
    """Share of the energy above 4 kHz, 0 to 1. NaN for silence."""
    energy = np.abs(np.fft.rfft(audio.astype(np.float64))) ** 2
    if not energy.any():
        return float("nan")
    return float(energy[np.fft.rfftfreq(len(audio), 1 / sample_rate) >= HIGH_HZ].sum() / energy.sum())


def stft_magnitude(audio: np.ndarray, n_fft: int, hop_length: int) -> np.ndarray:
    """STFT magnitude (F, N // hop_length + 1), periodic Hann window, silence around the audio (librosa)."""
    x = np.pad(audio.astype(np.float32), (0, n_fft % 2))  # what librosa's padding of an odd window lacks
    return np.abs(librosa.stft(x, n_fft=n_fft, hop_length=hop_length, pad_mode="constant"))


def projection_error_db(
    magnitude: np.ndarray, hop_length: int, iterations: int = PROJECTION_ITERATIONS, n_fft: int | None = None
) -> float:
    """Distance in dB of an STFT magnitude S (F, T) from that of the waveform which phase retrieval finds.

    20 log10(|S - |STFT(GL(S))|| / |S|), Frobenius norms. GL: SPSI phases, then ``iterations`` of fast
    Griffin-Lim. The 8 of the default reach about -25 dB on recordings, as 32 from random phases do. Fuzz and
    noise lift it; of a *generated* magnitude it also says that no waveform has it (as TiFGAN's,
    Marafioti et al. 2019). ``n_fft`` samples, 2 (F - 1) unless told. NaN for an all-zero magnitude.
    """
    if magnitude.ndim != 2 or not np.isfinite(magnitude).all():
        raise ValueError(f"magnitude must be a finite array with 2 axes, not one of shape {magnitude.shape}")
    norm = np.linalg.norm(magnitude)
    if norm == 0:
        return float("nan")
    n_fft = 2 * (magnitude.shape[0] - 1) if n_fft is None else n_fft
    samples = (magnitude.shape[1] - 1) * hop_length
    wanted = torch.from_numpy(np.ascontiguousarray(magnitude, np.float32))[None]
    phase = torch.from_numpy(spsi_phase(magnitude, n_fft, hop_length))[None]
    with torch.no_grad():
        audio = griffin_lim(wanted, n_fft, hop_length, samples, iterations, initial_phase=phase)[0].numpy()
    difference = magnitude - stft_magnitude(audio, n_fft, hop_length)
    return float(20 * np.log10(max(np.linalg.norm(difference) / norm, 1e-9)))


def consistency(magnitude: np.ndarray) -> float:
    """TiFGAN's consistency of a magnitude (F, T), -1 to 1: correlation of |d2 log S/dt2 + pi/4| and
    |d2 log S/df2 + pi/4| (Marafioti et al. 2019).

    Second differences of log magnitudes cut 10 nepers under the peak. The same as a recording's is good, more
    is not better: white noise has more. NaN for silence and for fewer than 3 bins or frames.
    """
    if magnitude.ndim != 2 or min(magnitude.shape) < 3 or not np.any(magnitude):
        return float("nan")
    log = np.log(np.maximum(magnitude / magnitude.max(), np.exp(LOG_FLOOR)))
    in_time = np.abs(log[1:-1, :-2] - 2 * log[1:-1, 1:-1] + log[1:-1, 2:] + np.pi / 4)
    in_frequency = np.abs(log[:-2, 1:-1] - 2 * log[1:-1, 1:-1] + log[2:, 1:-1] + np.pi / 4)
    if in_time.std() < 1e-9 or in_frequency.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(in_time.ravel(), in_frequency.ravel())[0, 1])


def spectrogram_scores(audio: np.ndarray, n_fft: int, hop_length: int) -> dict[str, float]:
    """``quality_proj_err_db`` and ``quality_consistency`` of a waveform (N,)."""
    if len(audio) < n_fft:
        return {"quality_proj_err_db": float("nan"), "quality_consistency": float("nan")}
    magnitude = stft_magnitude(audio, n_fft, hop_length)
    error_db = projection_error_db(magnitude, hop_length, n_fft=n_fft)
    return {"quality_proj_err_db": error_db, "quality_consistency": consistency(magnitude)}
