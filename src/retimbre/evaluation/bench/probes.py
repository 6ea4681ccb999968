"""What is asked of the trained models themselves, beside the test set.

* **Pitch test**, as in Cella's slides on autoXsynth (5 MIDI files of 20 notes on 10 instruments, of which 12 % lost
  their pitch): 5 takes of 20 random notes, played by the source instrument, transferred; a note is lost when swift-f0 puts it
  more than 50 cents off, or finds nothing. Only notes that it finds in the source count. ``copy`` is 0 by this definition,
  ``oracle`` (the target instrument plays the same notes) is what the tracker itself loses.
* **Relative cycle and identity error** of the generators, as in Gupta & Naik: small for a generator that does
  nothing, so a diagnosis and no success.
* **Projection error of generated magnitudes**: no waveform has the spectrogram that comes out of two networks; how far off is it?

The notes are rendered like the embedded data set where both instruments come from it. Elsewhere, such as for one's own
folders, each is a harmonic tone with the mean spectrum of its domain, which is no instrument but asks the same question.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import soxr
import torch

from retimbre.audio.features import FeatureExtractor, decibels, normalise
from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.evaluation.bench.testset import Item
from retimbre.evaluation.results.statistics import wilson
from retimbre.metrics.notes import melody
from retimbre.metrics.quality import projection_error_db
from retimbre.params import Dataset
from retimbre.systems.cyclegan.system import CycleGan
from retimbre.vocoders.catalogue import Vocoder

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


def records(
    generator: CycleGan,
    vocoder: Vocoder,
    extractor: FeatureExtractor,
    items: Sequence[Item],
    dataset: Dataset,
    seed: int,
) -> list[Record]:
    """Records of the table (item ``all``, stratum ``any``) for each direction of the generator.

    ``probe_lost_notes`` with its 95 % Wilson interval (``_low``, ``_high``) over ``probe_notes``: of ``copy``, ``oracle`` (where the
    instruments can be rendered), and the CycleGAN by the default vocoder (``cyclegan``) and by the other main kinds
    (``cyclegan_<kind>``); ``gan_rel_cycle``, ``gan_rel_identity``; where there is an inverter, ``gan_proj_err_db`` of what it makes of
    the CycleGAN's levels, and of true target levels (``vocoder_griffin_lim``).
    """
    found = []
    names = {kind: "cyclegan" if kind == vocoder.kind else f"cyclegan_{kind}" for kind in vocoder.main_kinds}
    for source, target in (generator.domains, generator.domains[::-1]):
        direction = f"{source}_to_{target}"
        here = [item for item in items if item.direction == direction]
        rows = [
            *pitch_test(generator, vocoder, extractor, dataset, source, target, names, seed),
            *(("cyclegan", name, value) for name, value in relative_errors(generator, here).items()),
            *(projection(generator, vocoder, here[:PROJECTED_ITEMS], names["griffin_lim"]) if "griffin_lim" in names else ()),
        ]
        found += [
            {"system": s, "direction": direction, "item": "all", "stratum": "any", "metric": m, "value": float(v)} for s, m, v in rows
        ]
    return found


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
    """Whether both domains are instruments of the soundfont."""
    sources = dataset.source if isinstance(dataset.source, dict) else dict.fromkeys(domains, dataset.source)
    return all(sources.get(d) == "soundfont" and d in soundfont.INSTRUMENTS for d in domains)


def sampled(dataset: Dataset, domain: str, sample_rate: int) -> Play:
    """Notes on the soundfont's instrument, (N,) at ``sample_rate``."""
    font, program = soundfont.find_font(dataset.soundfont), soundfont.instrument(domain).program

    def play(notes: list[PlayedNote], length_s: float) -> np.ndarray:
        audio = soxr.resample(soundfont.render(notes, program, font.path, length_s), soundfont.RENDER_RATE, sample_rate)
        return audio.astype(np.float32)

    return play


def toned(generator: CycleGan, domain: str) -> Play:
    """Notes as decaying harmonic tones, whose partials have the domain's mean level at their frequency."""
    config = generator.features
    bins_hz, mean_db = config.frequencies_hz(generator.representation), np.asarray(generator.config["mean_db"][domain])

    def play(notes: list[PlayedNote], length_s: float) -> np.ndarray:
        audio = np.zeros(round(length_s * config.sample_rate), np.float32)
        for note in notes:
            start, stop = (round(t * config.sample_rate) for t in (note.start_s, note.end_s))
            t = np.arange(stop - start) / config.sample_rate
            f0 = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
            partials = f0 * np.arange(1, int(0.45 * config.sample_rate / f0) + 1)
            levels = 10.0 ** (np.interp(partials, bins_hz, mean_db) / 20)
            tone = (levels[:, None] * np.sin(2 * np.pi * partials[:, None] * t)).sum(axis=0)
            audio[start:stop] += tone * np.exp(-TONE_DECAY_PER_S * t) * np.minimum(1, np.minimum(t, t[::-1]) / 0.01)
        return audio

    return play


def cents_off(audio: np.ndarray, sample_rate: int, notes: Sequence[PlayedNote]) -> np.ndarray:
    """How far each note of a take (N,) is off in cents: median of swift-f0's voiced frames after the attack; infinite without any."""
    times, hz, voiced = melody(audio, sample_rate)
    errors = []
    for note in notes:
        frames = voiced & (times >= note.start_s + ATTACK_S) & (times < note.end_s)
        expected = 440.0 * 2.0 ** ((note.pitch - 69) / 12)
        errors.append(1200 * abs(np.log2(np.median(hz[frames]) / expected)) if frames.sum() >= LEAST_FRAMES else np.inf)
    return np.array(errors)


def pitch_test(
    generator: CycleGan,
    vocoder: Vocoder,
    extractor: FeatureExtractor,
    dataset: Dataset,
    source: str,
    target: str,
    names: dict[str, str],
    seed: int,
) -> Iterator[tuple[str, str, float]]:
    """(system, metric, value) of the pitch test from ``source`` to ``target``; ``names``: the row of each kind of vocoder."""
    rate = extractor.config.sample_rate
    real = rendered(dataset, (source, target))
    if real:
        players = {d: sampled(dataset, d, rate) for d in (source, target)}
        ranges = [(soundfont.instrument(d).lowest, soundfont.instrument(d).highest) for d in (source, target)] + [TRACKED_MIDI]
        lowest, highest = max(low for low, _ in ranges), min(high for _, high in ranges)
    else:
        players, (lowest, highest) = {d: toned(generator, d) for d in (source, target)}, TONE_MIDI
    rng = np.random.default_rng([seed, generator.domains.index(source)])
    errors: dict[str, list[np.ndarray]] = {}
    for _ in range(TAKES):
        notes = random_notes(lowest, highest, rng)
        length_s = notes[-1].end_s + LEAD_S
        played = {d: _levelled(play(notes, length_s), vocoder.config["rms"]) for d, play in players.items()}
        heard = played[source]
        with torch.no_grad():
            level_db = decibels(extractor(torch.from_numpy(heard)[None], generator.representation))[0].numpy()
        made = generator.transfer(level_db, target)
        outputs = {"copy": heard, "oracle": played[target]} if real else {"copy": heard}  # a tone with the target's colour is no oracle
        outputs |= {name: vocoder.synthesise(kind, made, len(heard), target, heard, seed) for kind, name in names.items()}
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


def _levelled(audio: np.ndarray, rms: float) -> np.ndarray:
    """Scaled to a root mean square; silence stays."""
    now = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
    return (audio * (rms / max(now, 1e-9))).astype(np.float32)


# -------------------------------------------------------------------------------- inside the models


@torch.no_grad()
def relative_errors(generator: CycleGan, items: Sequence[Item]) -> dict[str, float]:
    """``gan_rel_cycle`` |F(G(x)) - x| / |x| over the sources x, ``gan_rel_identity`` |G(y) - y| / |y| over recordings y of the target.

    L1 norms, mean over items. x is the level above the floor in units of the range (0 to 1), so that silence is 0 (Gupta & Naik
    took magnitudes: their 0.010 to 0.031 are on another scale). Empty without items.
    """
    range_db = generator.features.range_db

    def shown(level_db: np.ndarray) -> torch.Tensor:
        return normalise(torch.from_numpy(np.ascontiguousarray(level_db, np.float32)), generator.top_db, range_db)[None].to(
            generator.device
        )

    def relative(y: torch.Tensor, x: torch.Tensor) -> float:
        return float((y - x).abs().sum() / (x + 1).abs().sum().clamp(min=1e-9))

    cycle, identity = [], []
    for item in items:
        there, back = generator.generator_to(item.target_domain), generator.generator_to(item.source_domain)
        x, y = shown(item.source.level_db), shown((item.target or item.unrelated).level_db)
        cycle.append(relative(back(there(x)), x))
        identity.append(relative(there(y), y))
    return {"gan_rel_cycle": float(np.mean(cycle)), "gan_rel_identity": float(np.mean(identity))} if items else {}


def projection(generator: CycleGan, vocoder: Vocoder, items: Sequence[Item], name: str) -> Iterator[tuple[str, str, float]]:
    """``gan_proj_err_db``: :func:`projection_error_db` of the magnitudes that the vocoder makes of generated levels, and of true ones."""
    config = generator.features
    generated = [vocoder.stft_magnitude(generator.transfer(i.source.level_db, i.target_domain)) for i in items]
    true = [vocoder.stft_magnitude(i.target.level_db) for i in items if i.target is not None]
    for system, magnitudes in ((name, generated), ("vocoder_griffin_lim", true)):
        errors = [projection_error_db(m[0].cpu().numpy(), config.hop_length, n_fft=config.stft_n_fft) for m in magnitudes]
        if errors:
            yield system, "gan_proj_err_db", float(np.mean(errors))
