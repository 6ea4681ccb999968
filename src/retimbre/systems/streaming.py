"""A recording of any length, rate and level through any system: the one way that the command, the bench, the listening
test and Python callers share.

The input is brought to the level that the system knows, goes through in chunks with context on both sides and a
cross-fade, so that memory does not grow with its length, and comes back as loud as it was. The chunks of a system that
``base.Streams`` start on its grid, and what it depends on lies inside the context, so that a chunk's middle is what it
would be in one piece.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from retimbre.audio.files import FileInfo, StreamReader, probe
from retimbre.audio.loudness import LoudnessMeter
from retimbre.audio.resampling import resample_blocks
from retimbre.errors import RetimbreError
from retimbre.paths import part_beside
from retimbre.progress import Progress
from retimbre.systems.base import Streams, System, check_target

SHORTEST_S = 0.1
SILENCE_RMS = 1e-4  # -80 dB: nothing that could be transferred
PEAK_LIMIT = 0.99
SAME_LEVEL_DB = 0.02  # a level that differs by less is as it should be: what rounding to 16 bits moves


@dataclass(frozen=True)
class Chunking:
    """Seconds of new audio per chunk, of context on each side (more where a system asks for more), of the cross-fade."""

    body_s: float = 20.0
    context_s: float = 2.0
    fade_s: float = 0.05


@dataclass(frozen=True)
class Job:
    """A recording as it is read: ``blocks(rate)`` starts over and gives mono float32 blocks at that rate.

    ``frames`` at ``sample_rate`` Hz; ``name``: of the recording, in messages.
    """

    blocks: Callable[[int], Iterator[np.ndarray]]
    frames: int
    sample_rate: int
    name: str


@dataclass
class Outcome:
    """What there is to say of a transfer: by how much the output had to be quieter than the input, not to clip."""

    quieter_db: float = 0.0


def transfer(
    system: System,
    audio: np.ndarray,
    sample_rate: int,
    to: str,
    seed: int = 0,
    chunking: Chunking = Chunking(),  # noqa: B008 (frozen)
) -> np.ndarray:
    """Transfer a recording in memory.

    ``audio``: (N,) or (N, channels) float, any level, at ``sample_rate`` Hz; channels are mixed down. Returns (N,)
    float32 at the same rate, with the same loudness (ITU-R BS.1770), or less where that would clip. Raises
    RetimbreError for an unknown target and for audio that is silent, shorter than 0.1 s or not finite.
    """
    audio = np.asarray(audio, np.float32)
    mono = audio.mean(1) if audio.ndim == 2 else audio
    if mono.ndim != 1 or not np.isfinite(mono).all():
        raise RetimbreError("the audio must be finite samples of shape (N,) or (N, channels).")
    job = Job(lambda rate: resample_blocks([mono], sample_rate, rate), len(mono), sample_rate, "the audio")
    return np.concatenate(list(_run(system, job, to, seed, chunking, lambda n: None, Outcome())))


def transfer_file(
    system: System,
    source: Path,
    target: Path,
    to: str,
    seed: int = 0,
    chunking: Chunking = Chunking(),  # noqa: B008 (frozen)
) -> tuple[FileInfo, Outcome]:
    """Transfer a file of any format, rate and number of channels that libsndfile reads; writes 16-bit WAV of the same
    rate and length.

    Raises RetimbreError as :func:`transfer` does, and for files that are no audio.
    """
    if target.suffix.lower() != ".wav":
        raise RetimbreError(f"{target} must end in .wav: that is what is written.")
    if not target.parent.is_dir():
        raise RetimbreError(f"the folder {target.parent} does not exist: create it or choose another output.")
    if target.is_dir():
        raise RetimbreError(f"{target} is a folder: give the name of a file in it.")
    info, outcome = probe(source), Outcome()
    job = Job(lambda rate: iter(StreamReader(source, rate)), info.frames, info.sample_rate, str(source))
    _check(system, job, to)  # before a bar appears
    seconds = int(np.ceil(info.duration_s))
    with part_beside(target) as part, Progress(seconds, f"{source.name} to {to}", "s") as progress:
        try:
            with soundfile.SoundFile(part, "w", info.sample_rate, 1, "PCM_16", format="WAV") as out:
                shown = 0.0

                def done(samples: int) -> None:
                    nonlocal shown
                    before, shown = int(shown), shown + samples / system.sample_rate
                    progress.update(min(int(shown), seconds) - before)

                for block in _run(system, job, to, seed, chunking, done, outcome):
                    out.write(block)
                progress.update(seconds - progress.done)  # what rounding to whole seconds left
        except (soundfile.SoundFileError, AssertionError) as error:  # what soundfile raises for a folder or disk that takes no more
            raise RetimbreError(
                f"{target} cannot be written ({error}): check the folder's permissions and the free space."
            ) from None
    return info, outcome


def _check(system: System, job: Job, to: str) -> None:
    """Refuse what can be refused before any work."""
    check_target(to, system.targets)
    if job.frames < SHORTEST_S * job.sample_rate:
        raise RetimbreError(f"{job.name} is shorter than {SHORTEST_S} s: give more audio.")


def _run(
    system: System, job: Job, to: str, seed: int, chunking: Chunking, done: Callable[[int], None], outcome: Outcome
) -> Iterator[np.ndarray]:
    """Measure, transfer to a temporary file, then level and resample: blocks at the recording's rate."""
    _check(system, job, to)
    square, total, heard = 0.0, 0, LoudnessMeter(system.sample_rate)
    for block in job.blocks(system.sample_rate):
        square, total = square + float(np.square(block, dtype=np.float64).sum()), total + len(block)
        heard.update(block)
    level = np.sqrt(square / max(total, 1))
    if level < SILENCE_RMS:
        level_db = 20 * np.log10(max(level, 1e-12))
        raise RetimbreError(f"{job.name} is silent (level {level_db:.0f} dB): there is nothing to transfer.")
    gain = np.float32(system.rms / level)
    if abs(20 * np.log10(gain)) < SAME_LEVEL_DB:
        gain = np.float32(1)
    with tempfile.TemporaryFile(suffix=".f32") as scratch:
        made, peak, made_square = LoudnessMeter(system.sample_rate), 0.0, 0.0
        levelled = (block * gain for block in job.blocks(system.sample_rate))
        for piece in _chunks(system, levelled, total, to, seed, chunking, done):
            made.update(piece)
            peak = max(peak, float(np.abs(piece).max(initial=0)))
            made_square += float(np.square(piece, dtype=np.float64).sum())
            scratch.write(piece.astype(np.float32).tobytes())
        change_db = heard.lufs(float(gain)) - made.lufs()  # at the systems' level: far above the meter's absolute gate
        if not np.isfinite(change_db):
            change_db = 20 * np.log10(system.rms / max(np.sqrt(made_square / max(total, 1)), 1e-9))
        wanted = 10 ** (change_db / 20) / gain
        back = min(wanted, PEAK_LIMIT / max(peak, 1e-9))
        outcome.quieter_db = float(20 * np.log10(wanted / back))
        scratch.seek(0)

        def stored() -> Iterator[np.ndarray]:
            while data := scratch.read(1 << 18):
                yield np.frombuffer(data, np.float32) * np.float32(back)

        written = 0
        for block in resample_blocks(stored(), system.sample_rate, job.sample_rate):
            block = np.clip(block[: job.frames - written], -1, 1)
            written += len(block)
            if len(block):
                yield block
        if written < job.frames:  # the resamplers' rounding, a few samples at most
            yield np.zeros(job.frames - written, np.float32)


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
