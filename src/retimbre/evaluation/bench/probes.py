"""Probes of the trained models themselves, beside the test set.

* **Pitch test**, as in Cella's slides on autoXsynth (5 MIDI files of 20 notes on 10 instruments, of which 12
  % lost their pitch): 5 takes of 20 random notes, played by the source instrument, transferred; a note is
  lost when swift-f0 puts it more than 50 cents off, or finds nothing. Only notes that it finds in the source
  count. ``copy`` is 0 by this definition, ``oracle`` (the target instrument plays the same notes) is what
  the tracker itself loses.
* **Relative cycle and identity error** of systems that change spectra both ways, as in Gupta & Naik: small
  for a generator that does nothing, so a diagnosis and no success.
* **Projection error of generated magnitudes**: no waveform has the spectrogram that comes out of two
  networks; how far off is it?

The notes are rendered like the embedded data set where both instruments come from it. Elsewhere, such as for
one's own folders, each is a harmonic tone with the mean spectrum of its domain, which is no instrument but
asks the same question.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from retimbre.audio.features import FeatureConfig, normalise
from retimbre.audio.levels import rms
from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.datasets.sources.params import Dataset
from retimbre.evaluation.bench.rows import Row
from retimbre.evaluation.bench.suite import item_key
from retimbre.evaluation.bench.testset import Item
from retimbre.evaluation.results.statistics import wilson
from retimbre.metrics.quality import projection_error_db
from retimbre.nn.transcriber.notes import melody
from retimbre.provenance import code_of, digest_with_code
from retimbre.systems.base import Change, Spectral
from retimbre.vocoders.inverter.vocoder import Inverter

TAKES, NOTES = 5, 20  # per direction
NOTE_S, HELD_S, LEAD_S, ATTACK_S = 0.4, 0.36, 0.1, 0.08  # the tracker listens after the attack
TRACKED_MIDI = (36, 95)  # swift-f0 hears 46.9 to 2094 Hz
TONE_MIDI = (48, 84)  # of harmonic tones
TONE_DECAY_PER_S = 2.0
LOST_CENTS = 50.0
LEAST_FRAMES = 3  # voiced ones, of the tracker's 16 ms, that make a pitch
PROJECTED_ITEMS = 4  # per direction
Record = dict[str, Any]
Play = Callable[[list[PlayedNote], float], np.ndarray]


@dataclass(frozen=True)
class Probes:
    """Questions to trained systems.

    ``rows``: those of trained systems that are heard on every piece; ``inverter``: the network whose
    magnitudes are looked at, if it is trained; ``mean_db``: mean spectrum (F,) of each domain, of the
    systems' representation.
    """

    rows: list[Row]
    inverter: Inverter | None
    dataset: Dataset
    domains: list[str]
    config: FeatureConfig
    representation: str
    mean_db: dict[str, list[float]]
    rms: float
    seed: int

    def key(self, items: Sequence[Item]) -> str:
        """Changes with everything that the records depend on."""
        known = {name: value for name, value in vars(self).items() if name != "dataset"}
        keys = [item_key(item) for item in items]
        return digest_with_code(known, self.dataset.model_dump(), keys, code_of(__name__))

    def records(self, items: Sequence[Item]) -> list[Record]:
        """Records of the table (item ``all``, stratum ``any``) for each direction.

        ``probe_lost_notes`` with its 95 % Wilson interval (``_low``, ``_high``) over ``probe_notes``: of
        ``copy``, ``oracle`` (where the instruments can be rendered), and the rows; ``gan_rel_cycle`` and
        ``gan_rel_identity`` of rows that change spectra both ways; ``gan_proj_err_db`` of what the inverter
        makes of their spectra, and of true ones (``vocoder_griffin_lim``).
        """
        found = []
        changes = {
            id(row.maker.system.change): row
            for row in reversed(self.rows)
            if isinstance(row.maker.system, Spectral)
        }
        for source, target in permutations(self.domains[:2]):
            direction = f"{source}_to_{target}"
            here = [item for item in items if item.direction == direction]
            rows = [*self.pitch_test(source, target)]
            for row in changes.values():
                if row.maker.system.sources == self.domains[:2]:
                    errors = relative_errors(row.maker.system.change, here)
                    rows += [(row.name, name, value) for name, value in errors.items()]
            projected = [row for row in self.rows if row.vocoder == "griffin_lim"]
            rows += self.projection(projected, here[:PROJECTED_ITEMS])
            key = {"direction": direction, "item": "all", "stratum": "any"}
            found += [{"system": s, **key, "metric": m, "value": float(v)} for s, m, v in rows]
        return found

    def players(self, source: str, target: str) -> tuple[dict[str, Play], int, int, bool]:
        """Players of both instruments, lowest and highest MIDI pitch, and True for real instruments."""
        if not rendered(self.dataset, (source, target)):
            tones = {d: toned(self.config, self.representation, self.mean_db[d]) for d in (source, target)}
            return tones, *TONE_MIDI, False
        players = {d: sampled(self.dataset, d, self.config.sample_rate) for d in (source, target)}
        instruments = [soundfont.instrument(d) for d in (source, target)]
        ranges = [TRACKED_MIDI, *((i.lowest, i.highest) for i in instruments)]
        return players, max(low for low, _ in ranges), min(high for _, high in ranges), True

    def pitch_test(self, source: str, target: str) -> Iterator[tuple[str, str, float]]:
        """(system, metric, value) of the pitch test from ``source`` to ``target``."""
        rate = self.config.sample_rate
        players, lowest, highest, real = self.players(source, target)
        rng = np.random.default_rng([self.seed, self.domains.index(source)])
        errors: dict[str, list[np.ndarray]] = {}
        for _ in range(TAKES):
            notes = random_notes(lowest, highest, rng)
            length_s = notes[-1].end_s + LEAD_S
            played = {d: play(notes, length_s) for d, play in players.items()}
            played = {d: (x * (self.rms / max(rms(x), 1e-9))).astype(np.float32) for d, x in played.items()}
            heard = played[source]
            # A tone with the target's colour is no oracle.
            outputs = {"copy": heard, "oracle": played[target]} if real else {"copy": heard}
            outputs |= {row.name: row.maker.system.transfer(heard, target, self.seed) for row in self.rows}
            for system, audio in outputs.items():
                errors.setdefault(system, []).append(cents_off(audio, rate, notes))
        audible = np.concatenate(errors["copy"]) <= LOST_CENTS
        for system, takes in errors.items():
            lost, count = int((np.concatenate(takes)[audible] > LOST_CENTS).sum()), int(audible.sum())
            yield system, "probe_notes", count
            if count:
                share = wilson(lost, count)
                ends = (("", share.mean), ("_low", share.low), ("_high", share.high))
                yield from ((system, f"probe_lost_notes{end}", value) for end, value in ends)

    def projection(self, rows: Sequence[Row], items: Sequence[Item]) -> Iterator[tuple[str, str, float]]:
        """``gan_proj_err_db`` of the inverter's magnitudes of the rows' spectra, and of true ones."""
        if self.inverter is None:
            return
        spectra = {
            row.name: [row.maker.system.spectrum(i.source.audio, i.target_domain) for i in items]
            for row in rows
        }
        spectra["vocoder_griffin_lim"] = [i.target.level_db for i in items if i.target is not None]
        for system, found in spectra.items():
            magnitudes = [self.inverter.stft_magnitude(spectrum_db)[0].cpu().numpy() for spectrum_db in found]
            c = self.config
            errors = [projection_error_db(m, c.hop_length, n_fft=c.stft_n_fft) for m in magnitudes]
            if errors:
                yield system, "gan_proj_err_db", float(np.mean(errors))


# -------------------------------------------------------------------------------------- pitch test


def random_notes(lowest: int, highest: int, rng: np.random.Generator) -> list[PlayedNote]:
    """A take: 20 notes of uniformly random MIDI pitches one after another, none twice in a row."""
    pitches = [int(rng.integers(lowest, highest + 1))]
    while len(pitches) < NOTES:
        pitch = int(rng.integers(lowest, highest + 1))
        pitches += [pitch] if pitch != pitches[-1] else []
    starts = LEAD_S + NOTE_S * np.arange(NOTES)
    return [PlayedNote(float(s), float(s) + HELD_S, p, 80) for s, p in zip(starts, pitches, strict=True)]


def rendered(dataset: Dataset, domains: Sequence[str]) -> bool:
    """True when both domains are instruments of the soundfont."""
    sources = dataset.source if isinstance(dataset.source, dict) else dict.fromkeys(domains, dataset.source)
    return all(sources.get(d) == "soundfont" and d in soundfont.INSTRUMENTS for d in domains)


def sampled(dataset: Dataset, domain: str, sample_rate: int) -> Play:
    """Notes on the soundfont's instrument, (N,) at ``sample_rate``."""
    font, program = soundfont.find_font(dataset.soundfont), soundfont.instrument(domain).program

    def play(notes: list[PlayedNote], length_s: float) -> np.ndarray:
        length = round(length_s * sample_rate)
        return soundfont.recorded(notes, program, font.path, length, sample_rate)

    return play


def toned(config: FeatureConfig, representation: str, mean_db: Sequence[float]) -> Play:
    """Notes as decaying harmonic tones; partials have the level of the domain's mean spectrum there."""
    bins_hz = config.frequencies_hz(representation)

    def play(notes: list[PlayedNote], length_s: float) -> np.ndarray:
        audio = np.zeros(round(length_s * config.sample_rate), np.float32)
        for note in notes:
            start, stop = (round(t * config.sample_rate) for t in (note.start_s, note.end_s))
            t = np.arange(stop - start) / config.sample_rate
            f0 = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
            partials = f0 * np.arange(1, int(0.45 * config.sample_rate / f0) + 1)
            levels = 10.0 ** (np.interp(partials, bins_hz, mean_db) / 20)
            tone = (levels[:, None] * np.sin(2 * np.pi * partials[:, None] * t)).sum(axis=0)
            edges = np.minimum(1, np.minimum(t, t[::-1]) / 0.01)
            audio[start:stop] += tone * np.exp(-TONE_DECAY_PER_S * t) * edges
        return audio

    return play


def cents_off(audio: np.ndarray, sample_rate: int, notes: Sequence[PlayedNote]) -> np.ndarray:
    """Cents by which each note of a take (N,) is off: median of voiced frames after the attack; or inf."""
    times, hz, voiced = melody(audio, sample_rate)
    errors = []
    for note in notes:
        frames = voiced & (times >= note.start_s + ATTACK_S) & (times < note.end_s)
        expected = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
        heard = frames.sum() >= LEAST_FRAMES
        errors.append(1200 * abs(np.log2(np.median(hz[frames]) / expected)) if heard else np.inf)
    return np.array(errors)


# -------------------------------------------------------------------------------- inside the models


def relative_errors(change: Change, items: Sequence[Item]) -> dict[str, float]:
    """``gan_rel_cycle`` |F(G(x)) - x| / |x| and ``gan_rel_identity`` |G(y) - y| / |y|.

    x are the sources, y recordings of the target. L1 norms, mean over items. x is the level above the floor
    in units of the range (0 to 1), so that silence is 0 (Gupta & Naik took magnitudes: their 0.010 to 0.031
    are on another scale). Empty without items.
    """

    def above_floor(spectrum_db: np.ndarray) -> np.ndarray:
        return normalise(spectrum_db, change.top_db, change.features.range_db) + 1

    def relative(y_db: np.ndarray, x_db: np.ndarray) -> float:
        x = above_floor(x_db)
        return float(np.abs(above_floor(y_db) - x).sum() / max(x.sum(), 1e-9))

    cycle, identity = [], []
    for item in items:
        x, y = item.source.level_db, (item.target or item.unrelated).level_db
        cycle.append(relative(change.transfer(change.transfer(x, item.target_domain), item.source_domain), x))
        identity.append(relative(change.transfer(y, item.target_domain), y))
    errors = {"gan_rel_cycle": cycle, "gan_rel_identity": identity}
    return {name: float(np.mean(values)) for name, values in errors.items() if values}
