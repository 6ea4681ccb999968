"""Stereo image: how the channels of a recording lie around their mix, put on another sound.

In every band and moment the channels are split into what follows their mix and what does not. The first part
tells how loud, and in which phase, the sound is in each channel; in place of the second part stand copies of
the sound that are decorrelated. So a panned source stays where it is, a wide one wide, and channels in
opposite phase are so again.

Bands, smoothing and decorrelation are those of parametric stereo (Breebaart, van de Par, Kohlrausch and
Schuijers, "Parametric coding of stereo audio", 2005), written with covariances for any number of channels as
in Vilkamo, Bäckström and Kuntz, "Optimized covariance domain framework for time-frequency processing of
spatial audio", 2013.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from retimbre.audio.resampling import even

WINDOW_S = 0.09  # about: it is a power of two of samples
FRAMES = 16  # half windows that are worked on at once
SMOOTHING_S = 0.1  # time constant of the image
AHEAD_S = 0.05  # by which the image is taken from later
FAINT = 1e-6  # of the power of all bands: a band below it has the image of all bands
CANCELLED = 0.1  # of the mix of channels that have nothing in common: below it they follow no mix
NARROW = 1e-5  # of a band's power: less that does not follow the mix is left out
ALIKE = 0.03  # of the mean power of the sound and its copies, added to each: copies like it stay finite
DELAYS_S = (0.003, 0.02)  # of the bands of a decorrelated copy


def _bands(hz: np.ndarray) -> np.ndarray:
    """Place of frequencies in bands as wide as those of hearing (Glasberg and Moore, 1990): 0.0 and more."""
    return 21.4 * np.log10(1 + 0.00437 * hz)


def _all_pass(hz: np.ndarray, number: int) -> np.ndarray:
    """Impulse response (2F - 2,) that passes all of the F frequencies equally, every band at its own time.

    ``number``: of the response; two have nothing to do with each other.
    """
    place = _bands(hz)
    drawn = np.random.default_rng(number).uniform(*DELAYS_S, int(place[-1]) + 2)
    late_s = np.interp(place, np.arange(len(drawn)), drawn)
    return np.fft.irfft(np.exp(-2j * np.pi * np.cumsum(late_s) * hz[1])).astype(np.float32)


class Image:
    """Image of a recording of C channels, two or more, at ``sample_rate`` Hz.

    ``mix``: (C,) weights of the channels in the mix that a sound to be put in their place was made of.
    """

    def __init__(self, sample_rate: int, mix: np.ndarray):
        self.mix = np.asarray(mix, np.float64)
        self.hop = 2 ** max(4, round(np.log2(WINDOW_S * sample_rate)) - 1)
        self.ahead = round(AHEAD_S * sample_rate / self.hop) * self.hop
        # Its square and that of the next frame's add up to 1.
        self.window = np.sin(np.pi * (np.arange(2 * self.hop) + 0.5) / (2 * self.hop)).astype(np.float32)
        self.decay = np.exp(-self.hop / (SMOOTHING_S * sample_rate))
        hz = np.arange(self.hop + 1) * sample_rate / (2 * self.hop)
        self.edges = np.flatnonzero(np.diff(_bands(hz).astype(int), prepend=-1))  # first bin of each band
        self.band = np.searchsorted(self.edges, np.arange(len(hz)), "right") - 1  # of each bin
        self.across = np.linalg.svd(self.mix[None])[2][1:].T  # (C, C - 1), a basis of what leaves no mix
        self.filters = [_all_pass(hz, number) for number in range(len(self.mix) - 1)]

    def put(self, sound: Iterable[np.ndarray], channels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks (n, C) of a sound with this image, of its blocks (n,) and the recording's (n, C), as long.

        The power of all channels together is that of the sound from two loudspeakers. Channels that are
        equal stay equal, sample by sample.
        """
        length = 0

        def counted() -> Iterator[np.ndarray]:
            nonlocal length
            for block in channels:
                length += len(block)
                yield block

        place = -self.ahead - self.hop  # by which what comes out is late
        for block in self._late(sound, counted()):
            ready = block[max(0, -place) : max(0, length - place)]
            place += len(block)
            if len(ready):
                yield ready

    def _late(self, sound: Iterable[np.ndarray], channels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        from scipy.signal import fftconvolve

        count, size = len(self.mix), FRAMES * self.hop
        rest = np.zeros((self.ahead + self.hop + size, count), np.float32)
        sound = even(chain([rest[: self.ahead, 0]], sound, [rest[:, 0]]), size)
        heard = np.zeros(2 * self.hop - 1, np.float32)  # what the filters need of before
        before = np.zeros((2 * count, self.hop), np.float32)  # half a window of all signals
        image = made = np.zeros((1, len(self.edges), count, count))
        tail = np.zeros((count, self.hop), np.float32)
        for block in even(chain(channels, [rest]), size):
            if len(block) < size:
                break
            heard = np.concatenate([heard[1 - 2 * self.hop :], next(sound)])
            copies = [fftconvolve(heard, kernel, "valid") for kernel in self.filters]
            signals = np.stack([*block.T, heard[-size:], *copies]).astype(np.float32)
            X = self._spectra(np.concatenate([before, signals], 1))  # (2C, T, F)
            before = signals[:, -self.hop :]
            image, made = (
                self._smoothed(self._covariance(x), last[-1:])
                for x, last in ((X[:count], image), (X[count:], made))
            )
            frames = self._mixed(self._matrix(image, made), X[count:])  # (C, T, 2 * hop)
            out = frames[..., : self.hop]
            out[:, 0] += tail
            out[:, 1:] += frames[:, :-1, self.hop :]
            tail = frames[:, -1, self.hop :]
            yield out.reshape(count, size).T

    def _spectra(self, signals: np.ndarray) -> np.ndarray:
        """Signals (J, (T + 1) * hop) to spectra (J, T, F)."""
        from scipy.fft import rfft

        halves = signals.reshape(len(signals), -1, self.hop)
        frames = np.concatenate([halves[:, :-1], halves[:, 1:]], 2) * self.window
        return np.stack([rfft(x) for x in frames])  # one by one: equal signals get equal spectra

    def _covariance(self, X: np.ndarray) -> np.ndarray:
        """Spectra (J, T, F) to their covariances in bands (T, B, J, J)."""
        count, frames, _ = X.shape
        found = np.empty((frames, len(self.edges), count, count), np.complex128)
        for i in range(count):
            for j in range(i + 1):
                a, b = X[i], X[j]
                # Not a * b.conj(), which rounds: with itself a signal has no imaginary part.
                product = a.real * b.real + a.imag * b.imag + 1j * (a.imag * b.real - a.real * b.imag)
                found[..., i, j] = np.add.reduceat(product, self.edges, 1, np.complex128)
                found[..., j, i] = found[..., i, j].conj()
        return found

    def _smoothed(self, x: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Frames (T, ...) with what came before, less and less of it; ``last`` (1, ...): the frame before."""
        from scipy.signal import lfilter

        return lfilter([1], [1, -self.decay], x, 0, last * self.decay)[0]

    def _matrix(self, image: np.ndarray, made: np.ndarray) -> np.ndarray:
        """Matrices (T, B, C, C) from the sound and its copies to the channels.

        ``image`` and ``made`` (T, B, C, C): covariances of the recording's channels, of the sound and copies.
        """
        w, count = self.mix, len(self.mix)
        image = image + FAINT * image.sum(1, keepdims=True) + 1e-30  # silence: all channels are equal
        total = np.trace(image, axis1=2, axis2=3).real[..., None]  # (T, B, 1)
        follows = (image * w).sum(-1)  # (T, B, C)
        mixed = (follows * w).sum(-1, keepdims=True).real.clip(0)  # (T, B, 1)
        kept = np.minimum(1, mixed / (CANCELLED / count * (w @ w) * total))
        dry = kept * follows / np.sqrt(mixed + 1e-60)
        rest = self.across.T @ (image - dry[..., None] * dry[..., None, :].conj()) @ self.across
        power, vectors = np.linalg.eigh(rest)
        power = np.where(power > NARROW * total, power, 0)
        wet = self.across @ (vectors * np.sqrt(power)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)
        matrix = np.concatenate([dry[..., None], wet], -1) * np.sqrt(min(count, 2) / total)[..., None]
        # Where a single note sounds, a copy is much like the sound: what the sound has of it is taken off.
        power = np.trace(made, axis1=2, axis2=3).real[..., None, None] / count
        root = np.linalg.cholesky(made + (ALIKE * power + 1e-30) * np.eye(count))
        return matrix @ np.linalg.inv(root) * root[..., :1, :1]

    def _mixed(self, matrix: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Spectra (J, T, F) by matrices (T, B, C, J) to windowed frames (C, T, 2 * hop)."""
        from scipy.fft import irfft

        matrix = matrix.astype(np.complex64)
        Z = np.zeros((len(self.mix), *X.shape[1:]), np.complex64)
        for c in range(len(Z)):
            for j in range(len(X)):
                Z[c] += matrix[:, self.band, c, j] * X[j]
        return np.stack([irfft(z) for z in Z]) * self.window
