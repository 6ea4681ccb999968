"""The test pieces as the report shows them: sound, spectra, rainbowgrams, rolls of every recording."""

import math
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pandas

from retimbre.evaluation.bench.scoring import Result, Scorer
from retimbre.evaluation.report.media import Medium, sound, spectrum_picture
from retimbre.evaluation.report.pianoroll import (
    Note,
    box,
    counts,
    overlap,
    pitch_range,
    pitch_ticks,
    svg_paths,
)
from retimbre.evaluation.report.rainbowgram import (
    Rainbowgram,
    octave_ticks,
    rainbow_picture,
    rainbowgram,
    shared_top_db,
    ticks,
)
from retimbre.evaluation.results.rows import RECORDINGS, in_order, main_system, shown_first
from retimbre.metrics.spectral import match_length
from retimbre.progress import Progress

KINDS = {"cqt": "constant-Q", "mel": "mel", "rainbow": "rainbowgram", "roll": "piano roll"}
RANKED_BY = ("skill", "style_beyond_eq")  # the first that was measured decides which items are best and worst
SHOWN = ("content_note_f1", "style_beyond_eq", "skill")  # beside every player
MEGABYTES = 6.9  # of sound and pictures in the page; pairs beyond are left out
C4_HZ = 261.6256
THREADS = 2  # encoding holds no lock
UNSEEN = ("copy",)  # sounds like the source


@dataclass(frozen=True)
class Picture:
    """Image of a recording, or paths of its piano roll; ``ticks``: (share of the height, label)."""

    kind: str
    alt: str
    ticks: Sequence[tuple[float, str]]
    image: Medium | None = None
    paths: Mapping[str, str] = field(default_factory=dict)  # kind of note -> path
    box: tuple[int, int] = (1, 1)  # of the paths


@dataclass(frozen=True)
class Recording:
    """One thing to hear: ``name`` is a row of the table, ``source`` or ``target``."""

    name: str
    sound: Medium
    pictures: Sequence[Picture] = ()
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """One test piece in one direction with its recordings in the order shown."""

    item: str
    direction: str
    seconds: float
    recordings: Sequence[Recording]
    stratum: str = "any"
    range: str = "any"  # in | out of the target's range; any: not known
    rank: float | None = None  # of the main system's output, more is better
    badge: str = ""  # best | worst of its direction

    @property
    def name(self) -> str:
        return f"{self.direction}.{self.item}"


def ranking(table: pandas.DataFrame) -> tuple[str, dict[tuple[str, str], float]]:
    """The metric that ranks items (or ""), and the main system's value: ``(direction, item) -> value``."""
    main = main_system(table)
    for metric in RANKED_BY:
        rows = table[(table.system == main) & (table.metric == metric) & (table["item"] != "all")]
        if len(rows):
            return metric, rows.set_index(["direction", "item"]).value.to_dict()
    return "", {}


def badges(ranks: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], str]:
    """The best and the worst item of every direction that has at least two."""
    found = {}
    for direction in dict.fromkeys(d for d, _ in ranks):
        items = sorted((i for d, i in ranks if d == direction), key=lambda i: (ranks[direction, i], i))
        if len(items) > 1:
            found |= {(direction, items[-1]): "best", (direction, items[0]): "worst"}
    return found


def grouped(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by item, systems in the order of the table."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.item.name, []).append(result)
    order = in_order(r.system for r in results)
    return {name: sorted(rows, key=lambda r: order.index(r.system)) for name, rows in found.items()}


def heard(rows: Sequence[Result], systems: Container[str]) -> dict[str, np.ndarray]:
    """Source, outputs of ``systems`` in its length, true target of an item."""
    item = rows[0].item
    audio = {"source": item.source.audio}
    for r in rows:
        if r.system in systems:
            audio[r.system] = match_length(r.output.audio, len(item.source.audio))
    return audio | ({"target": item.target.audio} if item.target is not None else {})


@dataclass(frozen=True)
class Views:
    """Pictures' data of an item: each ``recording -> view``. Spectra are in dB under the scale's top."""

    cqt_db: dict[str, np.ndarray]
    mel_db: dict[str, np.ndarray]
    rainbow: dict[str, Rainbowgram]
    rainbow_top_db: float
    notes: dict[str, list[Note]]
    pitches: tuple[int, int]  # MIDI, lowest and highest of the rolls


def views(
    rows: Sequence[Result], audio: Mapping[str, np.ndarray], scorer: Scorer, tops_db: Mapping[str, float]
) -> Views:
    """Spectra, rainbowgrams and rolls of what is heard; ``tops_db``: representation -> top of its scale."""
    kinds = ("cqt", "mel")
    cqt, mel = ({n: scorer.spectrum(x, k) - tops_db[k] for n, x in audio.items()} for k in kinds)
    rainbows = {n: rainbowgram(x, scorer.rate) for n, x in audio.items()}
    source = scorer.transcribe(audio["source"], scorer.rate)
    said = {r.system: r.scored.notes for r in rows if r.system in audio}
    if "target" in audio:
        said["target"] = scorer.transcribe(audio["target"], scorer.rate)
    notes = {name: overlap(its, source) for name, its in {"source": source, **said}.items()}
    return Views(
        cqt, mel, rainbows, shared_top_db(rainbows.values()), notes, pitch_range(source, *said.values())
    )


def mel_ticks(frequencies_hz: np.ndarray) -> list[tuple[float, str]]:
    """Round frequencies on an axis of mel bands."""
    wanted = [f for f in (500, 1000, 2000, 4000, 8000, 16000) if frequencies_hz[0] <= f <= frequencies_hz[-1]]
    places = np.interp(wanted, frequencies_hz, (np.arange(len(frequencies_hz)) + 0.5) / len(frequencies_hz))
    labels = [f"{f / 1000:g} kHz" if f >= 1000 else f"{f} Hz" for f in wanted]
    return list(zip(places.tolist(), labels, strict=True))


def pictures(view: Views, name: str, seconds: float, scorer: Scorer) -> list[Picture]:
    """The four pictures of a recording."""
    c, low, high = scorer.config, *view.pitches
    cqt = octave_ticks(math.log2(c.cqt_fmin_hz / C4_HZ) + 4, c.cqt_bins / c.cqt_bins_per_octave)
    number = counts(view.notes[name])
    notes = f"{number['kept']} notes of the source kept, {number['lost']} lost, {number['added']} added"
    mel = mel_ticks(c.frequencies_hz("mel"))
    cqt_image, mel_image = (spectrum_picture(x[name], 0.0, c.range_db) for x in (view.cqt_db, view.mel_db))
    phases = rainbow_picture(view.rainbow[name], view.rainbow_top_db)
    paths = svg_paths(view.notes[name], low, high)
    return [
        Picture("cqt", f"Constant-Q spectrum of {name}", cqt, cqt_image),
        Picture("mel", f"Mel spectrum of {name}", mel, mel_image),
        Picture("rainbow", f"Rainbowgram of {name}", ticks(scorer.rate), phases),
        Picture(
            "roll",
            f"Piano roll of {name}: {notes}",
            pitch_ticks(low, high),
            paths=paths,
            box=box(seconds, low, high),
        ),
    ]


def build_pairs(
    results: Sequence[Result],
    table: pandas.DataFrame,
    scorer: Scorer,
    tops_db: Mapping[str, float],
    examples: int,
) -> tuple[list[Pair], dict[str, Views], int]:
    """All pairs in the order of the test set, as many as the page has room for.

    They are heard through the systems shown first; the first ``examples`` of each direction, and the best
    and the worst, have pictures (if ``examples`` is not 0), and those of them that every system has played
    are heard through all. Also returned: the views of the first ``examples`` by the pair's name, and how
    many pairs were left out.
    """
    ranks, items = ranking(table)[1], grouped(results)
    every, first = (set(names) - {*UNSEEN} for names in (table.system, shown_first(table)))
    badge = badges(ranks) if examples else {}
    shown = table[table.metric.isin(SHOWN)].set_index(["system", "direction", "item", "metric"])
    values, ranges = shown.value.to_dict(), table.groupby(["direction", "item"])["range"].first().to_dict()
    place: dict[str, int] = {}
    pairs, kept, media = [], {}, set()
    with ThreadPoolExecutor(THREADS) as pool, Progress(len(items), "report", "pairs") as progress:
        for name, rows in items.items():
            item = rows[0].item
            key = (item.direction, item.piece)
            index = place[item.direction] = place.get(item.direction, -1) + 1
            seen = index < examples or key in badge
            whole = seen and every <= {row.system for row in rows}
            audio = heard(rows, every if whole else first)
            seconds = len(item.source.audio) / scorer.rate
            progress.update()
            if sum(medium.size for medium in media) > MEGABYTES * 1e6 and not seen:
                continue
            encoded = pool.map(lambda x: sound(x, scorer.rate), audio.values())
            sounds = dict(zip(audio, encoded, strict=True))
            view = views(rows, audio, scorer, tops_db) if seen else None
            recordings = []
            for n in audio:
                drawn = view and (n in first or n in RECORDINGS)
                seen_of = pictures(view, n, seconds, scorer) if drawn else ()
                measured = {m: values[n, *key, m] for m in SHOWN if (n, *key, m) in values}
                recordings.append(Recording(n, sounds[n], seen_of, measured))
                media |= {sounds[n], *(p.image for p in seen_of if p.image)}
            if view and index < examples:
                kept[name] = view
            extra = {"rank": ranks.get(key), "badge": badge.get(key, ""), "range": ranges.get(key, "any")}
            pairs.append(Pair(item.piece, item.direction, seconds, recordings, item.stratum, **extra))
    return pairs, kept, len(items) - len(pairs)
