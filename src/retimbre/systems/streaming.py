"""A recording of any length, rate and level through any system: the one way that the command, the bench, the
listening test and Python callers share.

What sounds in the input is mixed to one channel, brought to the level that the system knows, and goes through
in chunks with context on both sides and a cross-fade, so that memory does not grow with its length. It comes
back as loud as it was and, unless one channel is asked for, with the channels' image (``audio.image``). The
chunks of a system that ``base.Streams`` start on its grid, and what it depends on lies inside the context, so
that a chunk's middle is what it would be in one piece.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from retimbre.audio.files import (
    LOUDEST,
    MAX_RATE,
    MIN_RATE,
    StreamReader,
    Survey,
    audio_writer,
    probe,
    survey,
)
from retimbre.audio.formats import format_of
from retimbre.audio.image import Image
from retimbre.audio.levels import BandPower, SoundingLevel
from retimbre.audio.loudness import LoudnessMeter, true_peak
from retimbre.audio.mixdown import Channels, Mixdown
from retimbre.audio.resampling import even, resample_blocks
from retimbre.errors import RetimbreError, check_target
from retimbre.paths import check_place
from retimbre.progress import Progress
from retimbre.systems.base import Spectral, Streams, System

SHORTEST_S = 0.1
FITTED_S = 60  # of a recording that a system is fitted to
SILENCE_RMS = 1e-4  # -80 dB: nothing that could be transferred
MIXED_SAMPLES = 1 << 15  # at once
CANCELS = "the output cancels in mono as the input does: --mono makes one that does not"
PEAK_LIMIT = 10 ** (-1.05 / 20)  # of the true peak: below -1 dBFS by what two oversampling filters differ
MOST_CHANNELS = 64  # of an array: more are samples, the wrong way round
FULL_SCALE = {"int8": 7, "int16": 15, "int32": 31}  # bits
MUCH = 0.25  # of the energy, that goes lost with a word
SAME_LEVEL_DB = 0.02  # a level that differs by less is as it should be: what rounding to 16 bits moves


@dataclass(frozen=True)
class Chunking:
    """Seconds of new audio per chunk, of context on each side at least, and of the cross-fade."""

    body_s: float = 20.0
    context_s: float = 2.0
    fade_s: float = 0.05


@dataclass(frozen=True)
class Job:
    """A recording as it is read, and what is to come of it.

    ``blocks(rate)`` starts over and gives mono float32 blocks (n,) at that rate; ``channels()`` gives all
    channels, (n, C), at ``sample_rate`` Hz; ``frames``: of them; ``name``: of the recording, in messages.
    ``mono``: the output has one channel; ``mix``: share of the recording in it, 0 to 1.
    """

    blocks: Callable[[int], Iterator[np.ndarray]]
    channels: Callable[[], Iterator[np.ndarray]]
    mixdown: Mixdown
    frames: int
    sample_rate: int
    name: str
    mono: bool
    mix: float

    @property
    def several(self) -> bool:
        """True for an output of several channels."""
        return not self.mono and self.mixdown.count > 1

    def spread(self, sound: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks (n,) of the output's length in its channels, (n, C), with the image of the recording's."""
        if not self.several:
            return (block[:, None] for block in sound)
        channels = _of_length(self.channels(), self.frames)
        return Image(self.sample_rate, self.mixdown.shares).put(sound, channels)

    def untouched(self) -> Iterator[np.ndarray]:
        """The recording in the output's channels, (n, C), as loud as it is to a listener."""
        if self.several:
            return _of_length(self.channels(), self.frames)
        louder = np.float32(10 ** (self.mixdown.quieter_db / 20))
        blocks = _of_length(self.blocks(self.sample_rate), self.frames)
        return (louder * block[:, None] for block in blocks)


@dataclass
class Outcome:
    """Report of a transfer: by how much the output had to be quieter than the input, not to clip; notes on
    what the system made of the recording, a clause each.
    """

    quieter_db: float = 0.0
    notes: list[str] = field(default_factory=list)


def transfer(
    system: System,
    audio: np.ndarray,
    sample_rate: int,
    to: str,
    seed: int = 0,
    chunking: Chunking = Chunking(),  # noqa: B008 (frozen)
    mono: bool = False,
    mix: float = 0.0,
) -> np.ndarray:
    """Transfer a recording in memory.

    ``audio``: (N,) or (N, channels) at ``sample_rate`` Hz; floats of any level, or integers, whose full
    scale is that of their type. ``mix``: share of the recording's power in the output, 0 to 1. Returns
    float32 of the same shape, (N,) if ``mono``, at the same rate, as loud as the channels together (ITU-R
    BS.1770), or less where its true peak would pass -1 dBFS. Raises RetimbreError for an unknown target, for
    audio that is silent, shorter than 0.1 s or not finite, and for other shapes, types, rates and shares.
    """
    x, rate = _samples(audio), _rate(sample_rate)
    channels = Channels(rate, x.shape[1])
    for start in range(0, len(x), rate):
        channels.update(x[start : start + rate])
    mixdown = channels.mixdown()
    job = Job(
        lambda wanted: resample_blocks(mixdown.mono([x]), rate, wanted), lambda: mixdown.channels([x]),
        mixdown, len(x), rate, "the audio", mono, mix,
    )  # fmt: skip
    check_target(to, system.targets)
    _check(job)
    made = np.concatenate(list(_run(system, job, to, seed, chunking, lambda n: None, Outcome())))
    return made[:, 0] if mono or np.ndim(audio) == 1 else made


def _samples(audio: np.ndarray) -> np.ndarray:
    """Audio as float32 (N, C), full scale 1."""
    x = np.asarray(audio)
    if x.ndim not in (1, 2) or (x.ndim == 2 and not 1 <= x.shape[1] <= MOST_CHANNELS):
        turned = x.ndim == 2 and 1 <= len(x) <= MOST_CHANNELS
        advice = ": it is the wrong way round, give audio.T" if turned else ""
        needed = "(samples,) or (samples, channels) is needed"
        raise RetimbreError(f"the audio has shape {x.shape}, and {needed}{advice}.")
    if x.dtype == np.uint8:  # as in WAV, 128 is silence
        x = (x.astype(np.float32) - 128) / 128
    elif x.dtype.name in FULL_SCALE:
        x = x / 2.0 ** FULL_SCALE[x.dtype.name]
    elif x.dtype.kind != "f":
        raise RetimbreError(
            f"the audio has the type {x.dtype}, and floats or integers of 8, 16 or 32 bits are needed: "
            "give floats of full scale 1."
        )
    with np.errstate(over="ignore"):  # checked below
        x = x.astype(np.float32)
    if not (np.abs(x) < LOUDEST).all():
        raise RetimbreError(
            f"the audio holds samples that are not finite numbers, or beyond {LOUDEST:g}: take them out."
        )
    return x[:, None] if x.ndim == 1 else x


def _rate(sample_rate: int) -> int:
    """A sample rate that can be worked with, or a RetimbreError."""
    number = isinstance(sample_rate, int | float | np.number) and not isinstance(sample_rate, bool)
    if not number or not MIN_RATE <= sample_rate <= MAX_RATE or sample_rate != int(sample_rate):
        needed = f"a whole number from {MIN_RATE} to {MAX_RATE} Hz is needed"
        raise RetimbreError(f"the sample rate is {sample_rate!r}, and {needed}.")
    return int(sample_rate)


def transfer_file(
    system: System, source: Path, target: Path, to: str, seed: int = 0, mono: bool = False, mix: float = 0.0
) -> tuple[Survey, Outcome]:
    """Transfer a file of any format, rate and number of channels that libsndfile reads; writes the format
    that the target's ending asks for, of the same length and, if the format has it, rate, of as many channels
    or, if ``mono``, one. WAV and FLAC have 16 bits, 24 or (WAV) floats, as the input has. ``mix``: share of
    the recording's power in it, 0 to 1.

    Returns what was found in the input. Raises RetimbreError as :func:`transfer` does, and for files that
    are no audio.
    """
    written = format_of(target)
    check_place(target)
    check_target(to, system.targets)
    stated, outcome = probe(source), Outcome()
    channels = 1 if mono else stated.channels
    if channels > written.channels:
        raise RetimbreError(
            f"{source} has {channels} channels, and {target.suffix} holds {written.channels}: give another "
            "format, or --mono."
        )
    about = int((stated.frames or 0) / stated.sample_rate)
    with Progress(about, f"{source.name} to {to}", "s") as progress:
        found = survey(source)
        seconds = int(np.ceil(found.duration_s))
        progress.expect(seconds)
        rate = written.rate(found.info.sample_rate)
        frames = -(-found.frames * rate // found.info.sample_rate)
        job = Job(
            lambda wanted: iter(StreamReader(source, wanted, found)),
            StreamReader(source, rate, found).channels,
            found.mixdown, frames, rate, str(source), mono, mix,
        )  # fmt: skip
        _check(job)  # before an output file is begun
        with audio_writer(target, written, rate, found.subtype, frames, channels) as out:
            shown = 0.0

            def done(samples: int) -> None:
                nonlocal shown
                before, shown = int(shown), shown + samples / system.sample_rate
                progress.update(min(int(shown), seconds) - before)

            for block in _run(system, job, to, seed, Chunking(), done, outcome):
                out.write(block)
        progress.update(seconds - progress.done)  # what rounding to whole seconds left
    return found, outcome


def _check(job: Job) -> None:
    """Refuse what can be refused before any work."""
    if job.frames < SHORTEST_S * job.sample_rate:
        raise RetimbreError(f"{job.name} is shorter than {SHORTEST_S} s: give more audio.")
    if not 0 <= job.mix <= 1:
        raise RetimbreError(f"mix is {job.mix}, and a share from 0 to 1 is needed.")


def _run(
    system: System,
    job: Job,
    to: str,
    seed: int,
    chunking: Chunking,
    done: Callable[[int], None],
    outcome: Outcome,
) -> Iterator[np.ndarray]:
    """Measure, transfer to a temporary file, then level, resample and spread over the output's channels.

    Yields blocks (n, C) at the recording's rate.
    """
    sounding, heard = SoundingLevel(system.sample_rate), LoudnessMeter(system.sample_rate)
    within = BandPower(system.sample_rate, *_range_hz(system))
    for block in job.blocks(system.sample_rate):
        sounding.update(block)
        heard.update(block)
        within.update(block)
    level, total = sounding.rms, sounding.samples
    if level < SILENCE_RMS:
        level_db = 20 * np.log10(max(level, 1e-12))
        raise RetimbreError(f"{job.name} is silent (level {level_db:.0f} dB): there is nothing to transfer.")
    gain = np.float32(system.rms / level)
    if abs(20 * np.log10(gain)) < SAME_LEVEL_DB:
        gain = np.float32(1)
    if isinstance(system, Spectral) and system.fits:
        heard_first = (block * gain for block in job.blocks(system.sample_rate))
        beginning = next(even(heard_first, FITTED_S * system.sample_rate))
        system, fitted = system.fitted(beginning, to)
        outcome.notes += [fitted] if fitted else []
    if job.several and job.mixdown.weights is not None:
        outcome.notes.append(CANCELS)
    lost = 1 - within.power / 10 ** (job.mixdown.level_db / 10)
    if lost > MUCH:
        lowest, highest = _range_hz(system)
        outcome.notes.append(
            f"has {lost:.0%} of its energy outside {lowest:.0f} to {highest:.0f} Hz, which is all that "
            f"{system.name} hears: that part is lost"
        )
    with tempfile.TemporaryFile(suffix=".f32") as scratch:
        loud, made_square = LoudnessMeter(system.sample_rate), 0.0
        levelled = (block * gain for block in job.blocks(system.sample_rate))
        for piece in _chunks(system, levelled, total, to, seed, chunking, done):
            loud.update(piece)
            made_square += float(np.square(piece, dtype=np.float64).sum())
            scratch.write(piece.astype(np.float32).tobytes())
        # At the systems' level: far above the absolute gate.
        change_db = heard.lufs(float(gain)) - loud.lufs()
        if not np.isfinite(change_db):
            change_db = 20 * np.log10(system.rms / max(np.sqrt(made_square / max(total, 1)), 1e-9))
        wanted = 10 ** ((change_db + job.mixdown.quieter_db) / 20) / gain

        def finished(scale: float) -> Iterator[np.ndarray]:
            def stored() -> Iterator[np.ndarray]:
                scratch.seek(0)
                while data := scratch.read(1 << 18):
                    yield np.frombuffer(data, np.float32) * np.float32(scale * np.sqrt(1 - job.mix))

            sound = _of_length(resample_blocks(stored(), system.sample_rate, job.sample_rate), job.frames)
            made = job.spread(sound)
            if not job.mix:
                return made
            factor = np.float32(scale / wanted * np.sqrt(job.mix))
            parts = zip(even(made, MIXED_SAMPLES), even(job.untouched(), MIXED_SAMPLES), strict=True)
            return (new + factor * old for new, old in parts)

        back = min(wanted, PEAK_LIMIT / max(true_peak(finished(1.0)), 1e-9))
        outcome.quieter_db = float(20 * np.log10(wanted / back))
        yield from finished(back)


def _of_length(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """Blocks (n, ...) cut to so many samples, or with silence after them: resamplers round a length."""
    for block in blocks:
        block = block[:frames]
        frames -= len(block)
        if len(block):
            yield block
    if frames:
        yield np.zeros((frames, *block.shape[1:]), np.float32)


def _range_hz(system: System) -> tuple[float, float]:
    """Lowest and highest frequency that a system hears."""
    if not isinstance(system, Spectral):
        return 0.0, system.sample_rate / 2
    frequencies = system.change.features.frequencies_hz(system.change.representation)
    return float(frequencies[0]), float(frequencies[-1])


def _chunks(
    system: System,
    blocks: Iterable[np.ndarray],
    total: int,
    to: str,
    seed: int,
    chunking: Chunking,
    done: Callable[[int], None],
) -> Iterator[np.ndarray]:
    """Transferred audio, piece by piece, from blocks of levelled input of ``total`` samples."""
    body, context = (max(1, round(s * system.sample_rate)) for s in (chunking.body_s, chunking.context_s))
    if isinstance(system, Streams):
        least, grid = system.chunking(to)
        body, context = (-(-samples // grid) * grid for samples in (body, max(context, least)))
    fade = min(round(chunking.fade_s * system.sample_rate), context)
    ramp = np.linspace(0, 1, fade, dtype=np.float32) if fade else np.zeros(0, np.float32)
    source, held = iter(blocks), np.zeros(0, np.float32)  # held[0] is sample `first` of the recording
    first, start, tail, before = 0, 0, None, None
    while start < total:
        end = min(start + body, total)
        if total - end < context:  # a short rest would be mostly context: take it along
            end = total
        reach = min(end + context, total)
        parts, size = [held], len(held)
        while first + size < reach:
            block = next(source, None)
            if block is None:  # the resampler rounded the length: what is missing is silence
                block = np.zeros(reach - first - size, np.float32)
            parts.append(block)
            size += len(block)
        held = np.concatenate(parts)
        left = start - first
        chunk = held[: reach - first]
        if isinstance(system, Streams):
            y = system.continued(chunk, to, seed + start, before)
        else:
            y = system.transfer(chunk, to, seed + start)
        piece = y[left : left + end - start + (fade if end < total else 0)].copy()
        if tail is not None:
            piece[:fade] = tail * (1 - ramp) + piece[:fade] * ramp
        if end < total:
            tail, piece = piece[end - start :], piece[: end - start]
            keep = max(0, end - context)
            before = y[keep - first : reach - first]
            held, first = held[keep - first :], keep
        done(end - start)
        yield piece
        start = end
