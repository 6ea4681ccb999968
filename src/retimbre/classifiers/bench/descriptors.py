"""Hand-made descriptors and classifiers of scikit-learn: 70 numbers a window, each classifier one pipeline.

The descriptors are those of Lostanlen and Cella's baseline (ISMIR 2016, by their code): means of 20 MFCC and
their first and second differences; mean and deviation of bandwidth, centroid, contrast, rolloff and zero
crossings. The four classifiers, their parameters and the scaling are those of Cella's MUSIC 159 script.
Conventions are librosa's, at 16 kHz (there 22,050 Hz).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.fft import dct
from scipy.signal import savgol_filter

from retimbre.audio.features import decibels
from retimbre.audio.spectral import mel_filters, stft
from retimbre.classifiers.bench.windows import RATE, Windows

N_FFT, FRAME_HOP = 2048, 512
MELS, MFCC = 128, 20
RANGE_DB = 80.0
DELTA_FRAMES = 9
ROLLOFF = 0.85
CONTRAST_HZ = (0, 200, 400, 800, 1600, 3200, 6400)  # and the band above
CONTRAST_SHARE = 0.02  # of a band's bins, whose means are its peak and its valley
SIZE = 70


@torch.no_grad()
def descriptors(audio: np.ndarray) -> np.ndarray:
    """The 70 descriptors of windows (B, N): (B, 70)."""
    x = torch.from_numpy(audio)
    spectrum = stft(x, N_FFT, FRAME_HOP).abs()
    mel = mel_filters(RATE, N_FFT, MELS) @ spectrum.square()
    db = decibels(mel.sqrt()).numpy()
    db = np.maximum(db, db.max(axis=(1, 2), keepdims=True) - RANGE_DB)
    cepstra = dct(db, axis=1, norm="ortho")[:, :MFCC]
    slopes = [savgol_filter(cepstra, DELTA_FRAMES, n, deriv=n, mode="interp") for n in (1, 2)]
    shapes = [*_shapes(spectrum.numpy().astype(np.float64)), _crossings(audio)]
    means = [part.mean(2) for part in (cepstra, *slopes)]
    moments = [np.stack([s.reshape(len(s), -1).mean(1), s.reshape(len(s), -1).std(1)], 1) for s in shapes]
    return np.concatenate([*means, *moments], axis=1)


def _shapes(spectrum: np.ndarray) -> list[np.ndarray]:
    """Bandwidth, centroid, contrast and rolloff of magnitudes (B, F, T): (B, T), contrast (B, 7, T)."""
    frequencies = np.linspace(0, RATE / 2, spectrum.shape[1])[:, None]
    total = np.maximum(spectrum.sum(1), 1e-12)
    centroid = (spectrum * frequencies).sum(1) / total
    away = np.square(frequencies - centroid[:, None])
    bandwidth = np.sqrt((spectrum * away).sum(1) / total)
    reached = spectrum.cumsum(1) >= ROLLOFF * spectrum.sum(1, keepdims=True)
    rolloff = frequencies[reached.argmax(1), 0]
    bands = []
    for low, high in zip(CONTRAST_HZ, (*CONTRAST_HZ[1:], RATE), strict=True):
        band = np.sort(spectrum[:, (frequencies[:, 0] >= low) & (frequencies[:, 0] < high)], axis=1)
        count = max(1, round(CONTRAST_SHARE * band.shape[1]))
        peak, valley = band[:, -count:].mean(1), band[:, :count].mean(1)
        bands.append(decibels(peak) - decibels(valley))
    return [bandwidth, centroid, np.stack(bands, 1), rolloff]


def _crossings(audio: np.ndarray) -> np.ndarray:
    """Share of the samples of every frame at which the sign changes: (B, T)."""
    changes = np.diff(np.signbit(audio), axis=1, prepend=np.signbit(audio[:, :1])).astype(np.float32)
    changes = np.pad(changes, ((0, 0), (N_FFT // 2, N_FFT // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(changes, N_FFT, axis=1)[:, ::FRAME_HOP]
    return frames.mean(2)


def _logistic(seed: int) -> object:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=5000)


def _svc(seed: int) -> object:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    return CalibratedClassifierCV(SVC(), cv=3, ensemble=False)  # which gives it probabilities


def _neighbours(seed: int) -> object:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=5)


def _forest(seed: int) -> object:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=10, random_state=seed)


KINDS: dict[str, Callable[[int], object]] = {
    "logistic": _logistic,
    "svc": _svc,
    "knn": _neighbours,
    "forest": _forest,
}


class Pipelined:
    """A front and a classifier of scikit-learn on its scaled numbers, behind the contract."""

    parameters = None

    def __init__(self, front: Callable[[np.ndarray], np.ndarray], kind: str, outputs: int, seed: int = 0):
        self.front, self.kind, self.outputs, self.seed = front, kind, outputs, seed

    def estimator(self) -> object:
        """The pipeline, untrained."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), KINDS[self.kind](self.seed))

    def fit(self, windows: Windows, labels: np.ndarray) -> "Pipelined":
        from sklearn.multiclass import OneVsRestClassifier

        labels, estimator = np.asarray(labels), self.estimator()
        self.fitted = (OneVsRestClassifier(estimator) if labels.ndim == 2 else estimator).fit(
            windows.heard(self.front), labels
        )
        self.seen = np.arange(self.outputs) if labels.ndim == 2 else np.unique(labels)
        return self

    def predict_proba(self, windows: Windows) -> np.ndarray:
        p = np.zeros((len(windows), self.outputs))
        if len(windows):
            p[:, self.seen] = self.fitted.predict_proba(windows.heard(self.front))
        return p


def cross_validated(
    classifier: Pipelined, windows: Windows, labels: np.ndarray, recordings: Sequence, folds: int = 5
) -> float:
    """Mean accuracy of stratified folds that keep every recording whole; Cella's script shuffled windows."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score

    cv = StratifiedGroupKFold(folds, shuffle=True, random_state=classifier.seed)
    x = windows.heard(classifier.front)
    found = cross_val_score(classifier.estimator(), x, labels, groups=np.asarray(recordings), cv=cv)
    return float(found.mean())
