"""Reading and writing audio files: whatever libsndfile reads, mono, at the rate that is asked for.

Nothing here trusts a file's header, neither for an amount of memory nor for a length: files are decoded
block by block until they end (:mod:`.containers` finds the streams in them), and mixed down so that nothing
vanishes (:mod:`.mixdown`). Resampling is soxr's HQ (linear phase, delay compensated).
"""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr

from retimbre.audio import containers
from retimbre.audio.formats import FORMATS, Format
from retimbre.audio.mixdown import Channels, Mixdown
from retimbre.audio.resampling import resample_blocks
from retimbre.errors import RetimbreError
from retimbre.paths import part_beside

BLOCK_SAMPLES = 65536  # of all channels, read at once
MIN_RATE, MAX_RATE = 1000, 768000  # Hz; a broken header must not blow one minute up to hours
MARGIN_S = 0.05  # read on both sides of a slice: the resampling filter sees what it would in the whole file
SEEK_S = 0.3  # the same for MPEG audio, whose first frames after a seek are decoded wrongly
LACKING_S = 0.1  # what may lack of what a header states (MP3 headers are estimates)
TELLING_DB = 20.0  # below what can be heard: what lies below hearing and is quieter goes without a word
LOUDEST = 1e12  # sample: integers of 32 bits written as floats are below it, and what is beyond is no audio
UNKNOWN_FRAMES = 1 << 62  # what libsndfile says of a length that a header leaves open lies above
SUBTYPES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}  # bytes of a sample
LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER")  # decoded to more than 16 bits


@dataclass(frozen=True)
class FileInfo:
    """A file's header; ``frames``: samples per channel, None where it says nothing."""

    sample_rate: int  # Hz
    channels: int
    frames: int | None
    subtype: str  # libsndfile's name of the encoding of samples


@dataclass(frozen=True)
class Survey:
    """A stretch of a file, decoded: what is really there."""

    info: FileInfo
    frames: int  # samples per channel
    stated: int | None  # frames of the stretch by the header, if that says anything
    mixdown: Mixdown
    broken: str = ""  # why decoding ended before the stretch did

    @property
    def duration_s(self) -> float:
        return self.frames / self.info.sample_rate

    @property
    def notes(self) -> list[str]:
        """Notes for a listener to the mixdown, a clause each."""
        said = []
        if self.broken:
            said.append(f"breaks off after {self.duration_s:.1f} s ({self.broken}): what follows is not used")
        elif self.stated is not None and self.stated - self.frames > LACKING_S * self.info.sample_rate:
            length = self.stated / self.info.sample_rate
            said.append(f"states {length:.1f} s in its header, {self.duration_s:.1f} s are there")
        if self.mixdown.weights is not None:
            said.append("has channels that cancel in their mean: their principal component is used")
        if self.mixdown.low_db > self.mixdown.level_db - TELLING_DB:
            said.append(f"has an offset or rumble of {self.mixdown.low_db:.0f} dBFS: it is taken off")
        return said

    @property
    def subtype(self) -> str:
        """The one of ``SUBTYPES`` that keeps what the file's samples hold."""
        name = self.info.subtype
        if name in ("FLOAT", "DOUBLE"):
            return "FLOAT"
        return "PCM_24" if name.endswith(("20", "24", "32")) or name.startswith(LOSSY) else "PCM_16"


class _Broken(Exception):
    """Decoding broke off, after some audio."""


class _File:
    """The streams of a file, one after the other, as blocks (n, C)."""

    def __init__(self, path: str | Path, streams: list[soundfile.SoundFile]):
        self.path, self.streams = path, streams
        first = streams[0]
        for stream in streams:
            if not MIN_RATE <= stream.samplerate <= MAX_RATE:
                raise RetimbreError(
                    f"{path} states a sample rate of {stream.samplerate} Hz, not {MIN_RATE} to {MAX_RATE}: "
                    "convert it or take it away."
                )
            if (stream.samplerate, stream.channels) != (first.samplerate, first.channels):
                raise RetimbreError(
                    f"{path} changes from {first.samplerate} Hz and {first.channels} channel(s) to "
                    f"{stream.samplerate} Hz and {stream.channels}: cut it where they change."
                )
        stated = sum(max(stream.frames, 0) for stream in streams)
        self.info = FileInfo(
            first.samplerate, first.channels, stated if stated < UNKNOWN_FRAMES else None, first.subtype
        )

    @property
    def most(self) -> float:
        """Frames that the file has room for: beyond the end of an SDS file libsndfile reads silence."""
        if self.streams[0].format != "SDS":
            return math.inf
        word = {"PCM_S8": 2, "PCM_16": 3}.get(self.info.subtype, 4)  # bytes, of 7 bits
        return os.path.getsize(self.path) // 127 * (120 // word)  # packets of 127 bytes hold 120 of samples

    def blocks(self, first: int = 0, frames: int | None = None) -> Iterator[np.ndarray]:
        """float32 blocks (n, C) from frame ``first`` on. Raises _Broken where decoding ends too early."""
        left = min(math.inf if frames is None else frames, self.most - first)
        size = max(1, BLOCK_SAMPLES // self.info.channels)
        skip, read = self._seek(first), 0
        for stream in self.streams:
            # soundfile would seek after every read: it cannot where the length is unknown, and what
            # follows a seek in an MP3 is decoded wrongly at first.
            stream.seekable = lambda: False
            while left > 0:
                decoded, error = _decode(stream, int(min(size, skip + left)))
                skip, block = max(0, skip - len(decoded)), decoded[skip:]
                if not max(block.max(initial=0), -block.min(initial=0)) < LOUDEST:  # NaN is not
                    raise RetimbreError(
                        f"{self.path} holds samples that are not finite numbers, or beyond {LOUDEST:g}: "
                        "export it again from its source."
                    )
                read, left = read + len(block), left - len(block)
                if len(block):
                    yield block
                if error:
                    raise error if read == 0 else _Broken(_reason(error))
                if len(decoded) == 0:
                    break

    def _seek(self, first: int) -> int:
        """Go to a frame; how many frames are still to be passed over, where that is not possible."""
        if first and len(self.streams) == 1:
            try:
                self.streams[0].seek(first)
                return 0
            except soundfile.SoundFileError:
                self.streams[0].seek(0)
        return first


def _decode(stream: soundfile.SoundFile, frames: int) -> tuple[np.ndarray, soundfile.SoundFileError | None]:
    """The next frames (n, C), fewer at the end, and what went wrong after them."""
    block = np.full((frames, stream.channels), np.nan, np.float32)
    try:
        return stream.read(out=block), None
    except soundfile.SoundFileError as error:  # what was decoded until then is there, but not its length
        return block[: int(np.argmax(np.isnan(block[:, -1])))], error


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error : ").removeprefix("Error in ")


@contextmanager
def _opened(path: str | Path) -> Iterator[_File]:
    """The open file; whatever goes wrong with it, here or in the body, becomes one RetimbreError."""
    path = Path(path)
    try:
        kind = path.stat()
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: give the path of an audio file.") from None
    except OSError as error:
        raise RetimbreError(
            f"{path} cannot be read ({error.strerror}): give the path of an audio file."
        ) from None
    except ValueError:  # a NUL in it
        raise RetimbreError(f"{str(path)!r} is no path: give the path of an audio file.") from None
    if stat.S_ISDIR(kind.st_mode):
        raise RetimbreError(f"{path} is a folder: give the path of an audio file.")
    if not stat.S_ISREG(kind.st_mode):
        raise RetimbreError(
            f"{path} is a pipe or device, and a recording is read more than once: write it to a file first."
        )
    if kind.st_size == 0:
        raise RetimbreError(f"{path} is empty (0 bytes): replace it or take it away.")
    try:
        parts = containers.parts(path)
    except OSError as error:
        raise RetimbreError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
    try:
        with ExitStack() as stack:
            # As bytes: a name need not be UTF-8.
            sources = [stack.enter_context(part.open(path)) for part in parts] or [os.fsencode(path)]
            yield _File(path, [stack.enter_context(soundfile.SoundFile(source)) for source in sources])
    except TypeError:  # soundfile takes .raw for headerless data and asks for its format
        raise RetimbreError(
            f"{path} has no header that tells its sample rate: convert it to WAV or FLAC."
        ) from None
    except _Broken as error:
        raise RetimbreError(
            f"{path} breaks off while it is decoded ({error}): replace it or take it away."
        ) from None
    except (soundfile.SoundFileError, ValueError) as error:
        raise RetimbreError(
            f"{path} is not audio that can be read ({_reason(error)}): convert it to WAV or FLAC, or "
            "take it away."
        ) from None


def probe(path: str | Path) -> FileInfo:
    """A file's header. Raises RetimbreError: missing, a folder, a pipe, empty, not audio, no samples."""
    with _opened(path) as file:
        if file.info.frames == 0:
            raise _no_audio(path)
        return file.info


def _no_audio(path: str | Path) -> RetimbreError:
    return RetimbreError(f"{path} contains no audio samples: replace it or take it away.")


def survey(path: str | Path, first: int = 0, frames: int | None = None) -> Survey:
    """Decode a stretch of a file, from frame ``first`` on, in flat memory.

    Audio that breaks off is surveyed up to there and says so. Raises RetimbreError as :func:`probe` does,
    and for samples that are not finite.
    """
    broken = ""
    with _opened(path) as file:
        channels = Channels(file.info.sample_rate, file.info.channels)
        try:
            for block in file.blocks(first, frames):
                channels.update(block)
        except _Broken as error:
            broken = str(error)
        if channels.frames == 0:
            raise _no_audio(path)
        stated = file.info.frames and min(file.info.frames - first, frames or file.info.frames)
        return Survey(file.info, channels.frames, stated, channels.mixdown(), broken)


def read_mono(path: str | Path, sample_rate: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Audio of a file at ``sample_rate``, mixed down: float32 (N,), full scale 1.

    ``start`` and ``stop`` are samples at ``sample_rate``: the result is that slice of the whole file's audio
    (shorter where the file ends before), and only this part, with a small margin, is read and judged by: how
    its channels are mixed, whether what lies below hearing is cut. Raises RetimbreError: missing, a folder,
    empty, not audio, no samples (also none in the slice), samples that are not finite, decoding that breaks
    off.
    """
    if start < 0 or (stop is not None and stop <= start):
        raise ValueError(f"slice {start}:{stop} of {path}: it must not be empty")
    with _opened(path) as file:
        rate = file.info.sample_rate
        # Both rates meet at every `unit` source frames = `step` samples: from there a slice is aligned.
        common = math.gcd(rate, sample_rate)
        unit, step = rate // common, sample_rate // common
        margin_s = SEEK_S if file.info.subtype.startswith("MPEG_LAYER") else MARGIN_S
        margin = math.ceil(margin_s * rate / unit)
        first = max(0, start // step - margin) if start else 0
        frames = None if stop is None else (-(-stop // step) + margin - first) * unit
        channels = Channels(rate, file.info.channels)
        blocks = []
        for block in file.blocks(first * unit, frames):
            channels.update(block)
            blocks.append(block)
    if not blocks and not first:
        raise _no_audio(path)
    x = np.concatenate([*channels.mixdown().mono(blocks), np.zeros(0, np.float32)])
    if rate != sample_rate:
        x = soxr.resample(x, rate, sample_rate, quality="HQ")
    offset = first * step
    x = x[start - offset : None if stop is None else stop - offset]
    if len(x) == 0:
        raise RetimbreError(
            f"{path} has no audio from {start / sample_rate:.2f} s on at {sample_rate} Hz: shorten "
            "the excerpt's start_s."
        )
    return np.ascontiguousarray(x)


class StreamReader:
    """A file's audio as mono float32 blocks at ``sample_rate``; memory stays flat however long the file is.

    The blocks joined are :func:`read_mono` of the whole file, up to where it breaks off. Every iteration
    starts at the beginning. ``surveyed``: what :func:`survey` said of the file, if that is known.
    """

    def __init__(self, path: str | Path, sample_rate: int, surveyed: Survey | None = None):
        self.path, self.sample_rate, self.survey = path, sample_rate, surveyed or survey(path)

    def __iter__(self) -> Iterator[np.ndarray]:
        with _opened(self.path) as file:
            blocks = self.survey.mixdown.mono(file.blocks(frames=self.survey.frames))
            resampled = resample_blocks(blocks, self.survey.info.sample_rate, self.sample_rate)
            first = next(resampled, None)
            if first is None:
                raise RetimbreError(
                    f"{self.path} contains no audio samples at {self.sample_rate} Hz: replace it or "
                    "take it away."
                )
            yield from chain([first], resampled)

    def channels(self) -> Iterator[np.ndarray]:
        """All channels, not mixed: float32 blocks (n, C) at ``sample_rate``."""
        with _opened(self.path) as file:
            blocks = self.survey.mixdown.channels(file.blocks(frames=self.survey.frames))
            yield from resample_blocks(blocks, self.survey.info.sample_rate, self.sample_rate)


def channel_blocks(path: str | Path) -> Iterator[np.ndarray]:
    """A file's channels as float32 blocks (n, C), up to where it breaks off. Raises RetimbreError."""
    with _opened(path) as file, suppress(_Broken):
        yield from file.blocks()


@contextmanager
def audio_writer(
    path: Path, kind: Format, sample_rate: int, subtype: str, frames: int, channels: int = 1
) -> Iterator[soundfile.SoundFile]:
    """A file of a format to write blocks of ``frames`` samples in all to; it takes its place at ``path`` when
    the block ends well. Raises RetimbreError where it cannot be written.

    ``subtype``: of ``SUBTYPES``, if the format has it. The bytes of a WAV, FLAC or MP3 follow from the audio
    alone; an Ogg stream gets a serial number that is drawn.
    """
    container, subtype = kind.container_of(frames * channels * SUBTYPES[subtype]), kind.subtype(subtype)
    try:
        with part_beside(path) as part:
            part.touch()  # libsndfile calls every reason why it cannot "System error"
            with soundfile.SoundFile(
                os.fsencode(part), "w", sample_rate, channels, subtype, format=container
            ) as file:
                # Float files would get a chunk with the time of day (SFC_SET_ADD_PEAK_CHUNK).
                soundfile._snd.sf_command(file._file, 0x1050, soundfile._ffi.NULL, 0)
                yield file
    except (OSError, soundfile.SoundFileError, AssertionError) as error:  # the last: of a full disk
        reason = getattr(error, "strerror", None) or _reason(error) or "is the disk full?"
        raise RetimbreError(
            f"{path} cannot be written ({reason}): choose another place or make room."
        ) from None


def write_wav(path: str | Path, x: np.ndarray, sample_rate: int, subtype: str = "PCM_16") -> None:
    """Write mono audio (N,), full scale 1, as WAV; PCM subtypes clip what is beyond, FLOAT keeps it.

    The file appears whole or not at all, folders on the way are made, and equal audio gives equal bytes.
    Raises RetimbreError: not finite, no samples, the path is a folder or cannot be written.
    """
    path, x = Path(path), np.asarray(x, dtype=np.float32)
    if subtype not in SUBTYPES:
        raise ValueError(f"subtype {subtype!r} is not one of {', '.join(SUBTYPES)}")
    if x.ndim != 1 or len(x) == 0:
        raise RetimbreError(
            f"{path} was not written: the audio has shape {x.shape}, and one channel with at least "
            "one sample is needed."
        )
    if not np.isfinite(x).all():
        raise RetimbreError(f"{path} was not written: the audio holds samples that are not finite numbers.")
    if path.is_dir():
        raise RetimbreError(f"{path} is a folder: give the name of a WAV file to write.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RetimbreError(f"{path} cannot be written ({error.strerror}): choose another place.") from None
    with audio_writer(path, FORMATS["wav"], sample_rate, subtype, len(x)) as file:
        file.write(x if subtype == "FLOAT" else np.clip(x, -1.0, 1.0))
