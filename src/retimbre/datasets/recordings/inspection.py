"""Inspection of a data set before training on it: hours, levels, pitch, silence, hum, duplicates.

Everything is measured on the recordings of ``data/raw`` as the manifest lists them, mixed down as
``resample`` does it, at ``ANALYSIS_RATE``. Pitch is the strongest harmonic sum of each sounding constant-Q
frame: enough to compare ranges, not a transcription.
"""

import functools
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from scipy.sparse import lil_array
from scipy.sparse.csgraph import connected_components

from retimbre.audio.files import read_mono, survey
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.recordings.manifest import SPLITS, Recording, read_manifest
from retimbre.errors import RetimbreError
from retimbre.progress import Progress

ANALYSIS_RATE = 16000  # Hz
HOP = 512  # samples between the frames of levels and pitch
FMIN_HZ, BINS = 32.7031956626, 84  # C1 to B7, semitones
LOWEST_MIDI = 24  # of bin 0
HARMONICS = (1, 2, 3, 4, 5)  # of weights 0.8^(h - 1): a pure tone's own bin wins over its sub-harmonics
SILENT_DB = -60.0  # full scale 1: a frame below it is silent
PIECE_S = 60.0  # seconds analysed at once, so that memory does not grow with a recording
SIGNATURE_PARTS = 24  # time segments of the signature that near-duplicates are found by
ALIKE = 0.995  # cosine of two signatures (mean removed) above which recordings count as the same
LENGTH_TOLERANCE = 0.02  # relative difference in duration of copies
# between the domains' median levels; resample evens it out, but it hints at different recordings
LEVEL_GAP_DB = 12.0
LEAST_OVERLAP = 0.5  # of two pitch ranges, as a share of the narrower one
MOST_SILENCE = 0.3
LEAST_TRAINING_H = 0.05
FAULTS_SHOWN = 10
LONG_SILENCE_S = 5.0  # at a stretch
MAINS_HZ = (50, 60)
HUM_HARMONICS = (1, 2, 3)
HUM_EXCESS_DB = 15.0  # of a line over its neighbours in quiet frames
HUM_LEAST_DB = -70.0  # full scale 1
HUM_FRAMES = 5  # seconds that are needed to tell a hum from a note
NAMES = "C C# D D# E F F# G G# A A# B".split()


@dataclass(frozen=True)
class Measured:
    """One recording. ``pitches``: frames per MIDI number from ``LOWEST_MIDI``; ``signature``: its course of
    spectra, unit norm; ``faults``: what there is to say of it, a clause each."""

    index: int
    level_db: float  # root mean square of the sounding frames, dB of full scale
    silent: float  # share of frames below SILENT_DB
    pitches: np.ndarray  # (BINS,) int
    signature: np.ndarray  # (SIGNATURE_PARTS * BINS,) float32
    problem: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One domain's split. Pitches: MIDI numbers, 5 %, 50 % and 95 % of the sounding frames, or None."""

    domain: str
    split: str
    recordings: int
    pieces: int
    hours: float
    level_db: float | None
    level_low_db: float | None  # 5 % of the recordings lie below
    level_high_db: float | None  # 5 % lie above
    silent_share: float
    pitch_low: int | None
    pitch_median: int | None
    pitch_high: int | None
    sample_rates_hz: list[int]


@dataclass(frozen=True)
class Inspection:
    """Summaries in the manifest's order, groups of equal recordings, and sentences to act on."""

    summaries: list[Summary]
    duplicates: list[list[str]]
    warnings: list[str]
    licences: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        return asdict(self)


def note_name(midi: int) -> str:
    """60 -> C4."""
    return f"{NAMES[midi % 12]}{midi // 12 - 1}"


def pitch_histogram(magnitude: np.ndarray, sounding: np.ndarray) -> np.ndarray:
    """Constant-Q magnitudes (BINS, T) to counts (BINS,) of each sounding frame's strongest harmonic sum."""
    salience = magnitude.copy()
    for h in HARMONICS[1:]:
        up = round(12 * np.log2(h))
        salience[: BINS - up] += 0.8 ** (h - 1) * magnitude[up:]
    # A bin without energy of its own is a sub-harmonic, however much its multiples hold.
    salience[magnitude < 0.1 * magnitude.max(0, initial=0)] = 0
    return np.bincount(salience.argmax(0)[sounding], minlength=BINS)


def measure(task: tuple[int, Recording], folder: Path) -> Measured:
    """Decode a recording and measure it. A file that cannot be read comes back with its ``problem``."""
    import torch

    from retimbre.audio.cqt import ConstantQ

    index, recording = task
    torch.set_num_threads(1)
    transform = ConstantQ(ANALYSIS_RATE, HOP, FMIN_HZ, BINS, 12)
    start = round(recording.start_s * ANALYSIS_RATE)
    samples = max(HOP, round(recording.duration_s * ANALYSIS_RATE))
    pitches, parts = np.zeros(BINS, np.int64), np.zeros((SIGNATURE_PARTS, BINS))
    energy, sounding, slow = 0.0, [np.zeros(0, bool)], []
    path = folder / recording.path
    try:
        first = round(recording.start_s * recording.sample_rate)
        found = survey(path, first, round(recording.duration_s * recording.sample_rate))
        for offset in range(0, samples, round(PIECE_S * ANALYSIS_RATE)):
            length = min(round(PIECE_S * ANALYSIS_RATE), samples - offset)
            if length < HOP and offset:
                break
            x = read_mono(path, ANALYSIS_RATE, start + offset, start + offset + length)
            power = np.square(np.pad(x, (0, -len(x) % HOP)), dtype=np.float64).reshape(-1, HOP).mean(1)
            with torch.no_grad():
                magnitude = transform.magnitude(torch.from_numpy(x)[None])[0].numpy()[:, : len(power)]
            sounds = power[: magnitude.shape[1]] > 10 ** (SILENT_DB / 10)
            pitches += pitch_histogram(magnitude, sounds)
            energy += power[: len(sounds)][sounds].sum()
            sounding.append(sounds)
            slow.append(_slow_spectra(x))
            share = (offset + HOP * np.arange(magnitude.shape[1])) / samples
            np.add.at(parts, (share * SIGNATURE_PARTS).astype(int).clip(0, SIGNATURE_PARTS - 1), magnitude.T)
    except RetimbreError as error:
        return Measured(index, np.nan, 1.0, pitches, np.zeros(SIGNATURE_PARTS * BINS, np.float32), str(error))
    heard = np.concatenate(sounding)
    level = 10 * np.log10(energy / heard.sum()) if heard.any() else np.nan
    faults = [*found.notes, *_hum(np.concatenate(slow)), *_long_silence(heard)]
    return Measured(index, level, 1 - heard.mean(), pitches, _signature(parts), faults=tuple(faults))


def _slow_spectra(x: np.ndarray) -> np.ndarray:
    """Power (T, 256) of 1-s frames at 0 .. 255 Hz, scaled so that a sine gives its mean square."""
    frames = x[: len(x) // ANALYSIS_RATE * ANALYSIS_RATE].reshape(-1, ANALYSIS_RATE)
    spectra = np.fft.rfft(frames * np.hanning(ANALYSIS_RATE), axis=1)[:, :256]
    return 8 * np.square(np.abs(spectra)) / ANALYSIS_RATE**2


def _hum(power: np.ndarray) -> list[str]:
    """A mains hum in power (T, 256) of 1-s frames: lines that stand there in the quiet ones too."""
    power = power[power.any(1)]
    if len(power) < HUM_FRAMES:
        return []
    quiet = np.quantile(power, 0.1, axis=0)
    for mains in MAINS_HZ:
        lines = 0.0
        for line in (mains * harmonic for harmonic in HUM_HARMONICS):
            beside = np.median(np.r_[quiet[line - 12 : line - 3], quiet[line + 4 : line + 13]])
            stands_out = quiet[line] > beside * 10 ** (HUM_EXCESS_DB / 10)
            if stands_out and quiet[line] > max(quiet[line - 1], quiet[line + 1]):  # not a note beside it
                lines += quiet[line]
        if lines > 10 ** (HUM_LEAST_DB / 10):
            return [f"hums at {mains} Hz ({10 * np.log10(lines):.0f} dBFS): filter it out"]
    return []


def _long_silence(sounding: np.ndarray) -> list[str]:
    """The longest stretch of silent frames (T,), where it is long."""
    edges = np.flatnonzero(np.diff(np.r_[False, ~sounding, False]))
    starts, lengths = edges[::2], np.diff(edges)[::2]
    if not len(lengths) or lengths.max() * HOP < LONG_SILENCE_S * ANALYSIS_RATE:
        return []
    start, length = (frames * HOP / ANALYSIS_RATE for frames in (starts[lengths.argmax()], lengths.max()))
    return [f"is silent for {length:.0f} s from {start:.0f} s on: cut that out"]


def _signature(parts: np.ndarray) -> np.ndarray:
    """Spectra of the segments (SIGNATURE_PARTS, BINS), compressed, mean removed, unit norm."""
    x = np.sqrt(parts / max(parts.max(), 1e-12))
    x = x - x.mean()
    return (x / max(np.linalg.norm(x), 1e-12)).astype(np.float32).ravel()


def find_duplicates(recordings: Sequence[Recording], measured: Sequence[Measured]) -> list[list[int]]:
    """Groups of indices of the same audio: sample by sample, or in another encoding, level or rate.

    Only recordings of about the same duration are compared. Paired performances of one piece in two domains
    sound different, so they are no duplicates; nor are two recordings of the same file's different
    stretches.
    """
    order = sorted(
        (i for i, m in enumerate(measured) if m.signature.any()), key=lambda i: recordings[i].duration_s
    )
    signatures = np.stack([measured[i].signature for i in order]) if order else np.zeros((0, 1), np.float32)
    durations = np.array([recordings[i].duration_s for i in order])
    alike = lil_array((len(recordings), len(recordings)), dtype=bool)
    for place, i in enumerate(order):
        last = np.searchsorted(durations, durations[place] * (1 + LENGTH_TOLERANCE), side="right")
        for other in np.flatnonzero(signatures[place + 1 : last] @ signatures[place] > ALIKE) + place + 1:
            alike[i, order[other]] = True
    groups = defaultdict(list)
    for i, group in enumerate(connected_components(alike, directed=False)[1]):
        groups[group].append(i)
    return sorted(group for group in groups.values() if len(group) > 1)


def _quantile(counts: np.ndarray, q: float) -> int | None:
    total = counts.sum()
    return int(LOWEST_MIDI + np.searchsorted(np.cumsum(counts), q * total)) if total else None


def summarise(recordings: Sequence[Recording], measured: Sequence[Measured]) -> list[Summary]:
    """One row per domain and split, domains in the manifest's order."""
    rows = []
    for domain in dict.fromkeys(r.domain for r in recordings):
        for split in SPLITS:
            pairs = zip(recordings, measured, strict=True)
            chosen = [(r, m) for r, m in pairs if (r.domain, r.split) == (domain, split)]
            if not chosen:
                continue
            levels = np.array([m.level_db for _, m in chosen])
            levels = levels[np.isfinite(levels)]
            low, median, high = np.quantile(levels, [0.05, 0.5, 0.95]) if len(levels) else (None, None, None)
            pitches = np.sum([m.pitches for _, m in chosen], axis=0)
            seconds = np.array([r.duration_s for r, _ in chosen])
            rows.append(
                Summary(
                    domain,
                    split,
                    len(chosen),
                    len({r.piece for r, _ in chosen}),
                    float(seconds.sum() / 3600),
                    *(None if x is None else float(x) for x in (median, low, high)),
                    float(np.average([m.silent for _, m in chosen], weights=seconds)),
                    *(_quantile(pitches, q) for q in (0.05, 0.5, 0.95)),
                    sorted({r.sample_rate for r, _ in chosen}),
                )
            )
    return rows


def _some(names: list[str], shown: int) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def warn(
    recordings: Sequence[Recording],
    measured: Sequence[Measured],
    summaries: list[Summary],
    duplicates: list[list[int]],
) -> list[str]:
    """Sentences on what would spoil a training or its evaluation."""
    said = [m.problem for m in measured if m.problem]
    faulty = [f"{recordings[m.index].path}: {'; '.join(m.faults)}." for m in measured if m.faults]
    said += faulty[:FAULTS_SHOWN]
    if len(faulty) > FAULTS_SHOWN:
        said.append(f"{len(faulty) - FAULTS_SHOWN} more recordings have such faults.")
    for group in duplicates:
        splits, domains = {recordings[i].split for i in group}, {recordings[i].domain for i in group}
        names = _some([recordings[i].path for i in group], 3)
        if len(splits) > 1:
            where = " and ".join(s for s in SPLITS if s in splits)
            said.append(f"the same audio is in {where} ({names}): scores on the test set would be too good.")
        elif len(domains) > 1:
            said.append(
                f"the same audio is in {' and '.join(sorted(domains))} ({names}): take it out of one of them."
            )
    train = [s for s in summaries if s.split == "train"]
    for s in train:
        if s.hours < LEAST_TRAINING_H:
            least = 60 * LEAST_TRAINING_H
            said.append(
                f"{s.domain} has {60 * s.hours:.1f} minutes of training audio: less than {least:.0f} will "
                "hardly train anything."
            )
        if s.silent_share > MOST_SILENCE:
            said.append(
                f"{s.silent_share:.0%} of {s.domain}'s training audio is silent: cut the silence out."
            )
        if s.sample_rates_hz[0] < ANALYSIS_RATE:
            rate = s.sample_rates_hz[0]
            said.append(
                f"{s.domain} has recordings of {rate} Hz: what lies above {rate // 2} Hz will be missing."
            )
    for a, b in itertools.combinations(train, 2):
        if a.level_db is not None and b.level_db is not None and abs(a.level_db - b.level_db) > LEVEL_GAP_DB:
            gap = abs(a.level_db - b.level_db)
            said.append(
                f"{a.domain} and {b.domain} differ by {gap:.0f} dB in level: evened out later, but listen "
                "for noise in the quieter one."
            )
        if None not in (a.pitch_low, b.pitch_low):
            common = min(a.pitch_high, b.pitch_high) - max(a.pitch_low, b.pitch_low) + 1
            narrower = min(a.pitch_high - a.pitch_low, b.pitch_high - b.pitch_low) + 1
            if common < LEAST_OVERLAP * narrower:
                spans = " and ".join(
                    f"{s.domain} ({note_name(s.pitch_low)} to {note_name(s.pitch_high)})" for s in (a, b)
                )
                said.append(
                    f"the pitch ranges of {spans} hardly overlap: a generator would have to transpose."
                )
        if max(a.hours, b.hours) > 10 * min(a.hours, b.hours) > 0:
            said.append(
                f"{a.domain} has {a.hours:.2f} h of training audio and {b.domain} {b.hours:.2f} h: the "
                "smaller one limits both."
            )
    return said


def inspect(folder: Path, jobs: int = 1) -> Inspection:
    """Measure what ``folder``'s manifest lists, in ``jobs`` processes. Raises RetimbreError without one."""
    recordings = read_manifest(folder)
    measured = []
    with Progress(len(recordings), "inspect", "recordings") as progress:
        for one in parallel_map(functools.partial(measure, folder=folder), enumerate(recordings), jobs):
            measured.append(one)
            progress.update(note=recordings[one.index].domain)
    groups = find_duplicates(recordings, measured)
    summaries = summarise(recordings, measured)
    licences = list(dict.fromkeys(f"{r.source}: {r.licence}" for r in recordings))
    return Inspection(
        summaries,
        [[recordings[i].path for i in group] for group in groups],
        warn(recordings, measured, summaries, groups),
        licences,
    )


def as_text(found: Inspection) -> str:
    """The inspection as a table and lines to read on a terminal."""
    header = "domain,split,files,pieces,hours,level dBFS (5 .. 95 %),pitch 5 / 50 / 95 %,silent,Hz".split(",")
    rows = [header]
    for s in found.summaries:
        level, pitch = "-", "-"
        if s.level_db is not None:
            level = f"{s.level_db:.1f} ({s.level_low_db:.1f} .. {s.level_high_db:.1f})"
        if s.pitch_low is not None:
            pitch = " / ".join(map(note_name, (s.pitch_low, s.pitch_median, s.pitch_high)))
        rates = "/".join(map(str, s.sample_rates_hz))
        counts = [str(s.recordings), str(s.pieces), f"{s.hours:.2f}"]
        rows.append([s.domain, s.split, *counts, level, pitch, f"{s.silent_share:.1%}", rates])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = "<<" + ">" * (len(header) - 2)
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True))
        for row in rows
    ]
    lines.append("")
    lines.append(f"duplicates: {len(found.duplicates)} groups" if found.duplicates else "duplicates: none")
    lines += [f"  {_some(group, 4)}" for group in found.duplicates[:10]]
    lines += [f"warning: {sentence}" for sentence in found.warnings] or ["warnings: none"]
    return "\n".join(lines)
