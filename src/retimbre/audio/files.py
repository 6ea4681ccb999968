"""Reading and writing audio files (WAV, FLAC, OGG, MP3, AIFF: what libsndfile reads), mono, at the rate that is asked for.

Nothing here trusts a file's header for an amount of memory: files are read block by block until they end. Resampling is
soxr's HQ (linear phase, delay compensated).
"""

import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from retimbre.errors import RetimbreError

BLOCK_SAMPLES = 65536  # of all channels, read at once
MIN_RATE, MAX_RATE = 1000, 768000  # Hz; a broken header must not blow one minute up to hours
MARGIN_S = 0.05  # audio read on both sides of a slice, so that the resampling filter sees what it would see in the whole file
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")


@dataclass(frozen=True)
class FileInfo:
    sample_rate: int  # Hz
    channels: int
    frames: int  # samples per channel
    duration_s: float


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """The open file; whatever goes wrong with it, here or in the body, becomes one RetimbreError."""
    path = Path(path)
    if not path.exists():
        raise RetimbreError(f"{path} does not exist: give the path of an audio file.")
    if path.is_dir():
        raise RetimbreError(f"{path} is a folder: give the path of an audio file.")
    try:
        empty = path.stat().st_size == 0
        if not empty:
            with path.open("rb"):  # libsndfile reports a file without read permission as "System error"
                pass
    except OSError as error:
        raise RetimbreError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
    if empty:
        raise RetimbreError(f"{path} is empty (0 bytes): replace it or take it away.")
    try:
        with soundfile.SoundFile(path) as file:
            if not MIN_RATE <= file.samplerate <= MAX_RATE:
                raise RetimbreError(
                    f"{path} states a sample rate of {file.samplerate} Hz, not {MIN_RATE} to {MAX_RATE}: convert it or take it away."
                )
            if file.format == "MP3":  # soundfile seeks after every read, and what follows a seek in an MP3 is decoded wrongly at first
                file.seekable = lambda: False
            yield file
    except TypeError:  # soundfile takes .raw for headerless data and asks for its format
        raise RetimbreError(f"{path} has no header that tells its sample rate: convert it to WAV or FLAC.") from None
    except (soundfile.SoundFileError, ValueError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise RetimbreError(f"{path} is not audio that can be read ({reason}): convert it to WAV or FLAC, or take it away.") from None


def _mono_blocks(file: soundfile.SoundFile, path: str | Path, frames: int | None = None) -> Iterator[np.ndarray]:
    """float32 blocks (N,) from the file's position, channels averaged, at the file's own rate."""
    left = math.inf if frames is None else frames
    size = max(1, BLOCK_SAMPLES // file.channels)
    while left > 0:
        block = file.read(int(min(size, left)), dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
        if not np.isfinite(mono).all():
            raise RetimbreError(f"{path} holds samples that are not finite numbers: export it again from its source.")
        left -= len(block)
        yield np.ascontiguousarray(mono)


def _resampled_length(frames: int, source_rate: int, sample_rate: int) -> int:
    return (2 * frames * sample_rate + source_rate) // (2 * source_rate)  # rounded half up, as soxr does


def probe(path: str | Path) -> FileInfo:
    """What a file's header says. Raises RetimbreError: missing, a folder, empty, not audio, no samples."""
    with _opened(path) as file:
        info = FileInfo(file.samplerate, file.channels, file.frames, file.frames / file.samplerate)
    if info.frames <= 0:
        raise RetimbreError(f"{path} contains no audio samples: replace it or take it away.")
    return info


def read_mono(path: str | Path, sample_rate: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Audio of a file at ``sample_rate``, channels averaged: float32 (N,), full scale 1.

    ``start`` and ``stop`` are samples at ``sample_rate``: the result is that slice of the whole file's audio (shorter where
    the file ends before), and only this part, with a small margin, is read. Raises RetimbreError: missing, a folder,
    empty, not audio, no samples (also none in the slice), samples that are not finite.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"slice {start}:{stop} of {path}: it must not be empty")
    with _opened(path) as file:
        rate = file.samplerate
        # Both rates meet at every `unit` source frames = `step` samples: starting there keeps the slice aligned.
        common = math.gcd(rate, sample_rate)
        unit, step = rate // common, sample_rate // common
        margin = math.ceil(MARGIN_S * rate / unit)
        first = max(0, start // step - margin) if start else 0
        frames = None if stop is None else (-(-stop // step) + margin - first) * unit
        if first:
            if first * unit >= file.frames:
                raise RetimbreError(f"{path} ends before {start / sample_rate:.2f} s: shorten the excerpt's start_s.")
            file.seek(first * unit)
        blocks = list(_mono_blocks(file, path, frames))
    if not blocks:
        raise RetimbreError(f"{path} contains no audio samples: replace it or take it away.")
    x = np.concatenate(blocks)
    if rate != sample_rate:
        x = soxr.resample(x, rate, sample_rate, quality="HQ")
    offset = first * step
    x = x[start - offset : None if stop is None else stop - offset]
    if len(x) == 0:
        raise RetimbreError(f"{path} has no audio from {start / sample_rate:.2f} s on at {sample_rate} Hz: shorten the excerpt's start_s.")
    return np.ascontiguousarray(x)


class StreamReader:
    """Iterates over a file's audio as mono float32 blocks at ``sample_rate``; memory stays flat however long the file is.

    The blocks joined are :func:`read_mono` of the whole file. ``info`` is what :func:`probe` says. Every iteration starts
    at the beginning. Raises RetimbreError as :func:`read_mono` does, possibly in the middle of the iteration.
    """

    def __init__(self, path: str | Path, sample_rate: int):
        self.path, self.sample_rate, self.info = path, sample_rate, probe(path)

    @property
    def expected_samples(self) -> int:
        """Samples at the target rate, if the header is right. Not ``len``: ``list(reader)`` would make room for what a header claims."""
        return _resampled_length(self.info.frames, self.info.sample_rate, self.sample_rate)

    def __iter__(self) -> Iterator[np.ndarray]:
        rate = self.info.sample_rate
        resample = None if rate == self.sample_rate else soxr.ResampleStream(rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        samples = 0
        with _opened(self.path) as file:
            for block in _mono_blocks(file, self.path):
                block = block if resample is None else resample.resample_chunk(block)
                samples += len(block)
                if len(block):
                    yield block
        if resample is not None:
            rest = resample.resample_chunk(np.empty(0, dtype=np.float32), last=True)
            samples += len(rest)
            if len(rest):
                yield rest
        if samples == 0:
            raise RetimbreError(f"{self.path} contains no audio samples at {self.sample_rate} Hz: replace it or take it away.")


def write_wav(path: str | Path, x: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Write mono audio (N,), full scale 1, as WAV; PCM subtypes clip what is beyond full scale, FLOAT keeps it.

    The file appears whole or not at all, folders on the way are made, and equal audio gives equal bytes.
    Raises RetimbreError: not finite, no samples, the path is a folder or cannot be written.
    """
    path, x = Path(path), np.asarray(x, dtype=np.float32)
    if subtype not in SUBTYPES:
        raise ValueError(f"subtype {subtype!r} is not one of {', '.join(SUBTYPES)}")
    if x.ndim != 1 or len(x) == 0:
        raise RetimbreError(f"{path} was not written: the audio has shape {x.shape}, and one channel with at least one sample is needed.")
    if not np.isfinite(x).all():
        raise RetimbreError(f"{path} was not written: the audio holds samples that are not finite numbers.")
    if path.is_dir():
        raise RetimbreError(f"{path} is a folder: give the name of a WAV file to write.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if subtype == "FLOAT":
            from scipy.io import wavfile  # libsndfile would write the time of day into a float file (its PEAK chunk)

            wavfile.write(part, sample_rate, x)
        else:
            soundfile.write(part, np.clip(x, -1.0, 1.0), sample_rate, format="WAV", subtype=subtype)
        os.replace(part, path)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or error
        raise RetimbreError(f"{path} cannot be written ({str(reason).rstrip('.')}): choose another place or make room.") from None
    finally:
        with suppress(OSError):  # it is gone after os.replace
            part.unlink()
