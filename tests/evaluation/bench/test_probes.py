"""The pitch test and the errors of generators, with generators whose behaviour is known."""

import dataclasses

import numpy as np
import pytest
import torch

from retimbre.audio.features import spectrum_of
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.datasets.sources.params import Dataset
from retimbre.evaluation.bench import probes
from retimbre.evaluation.bench.rows import Row, Transferred
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.metrics.catalogue import CATALOGUE
from retimbre.systems.base import Spectral
from retimbre.systems.cyclegan.system import Change
from retimbre.vocoders.catalogue import Vocoders
from retimbre.vocoders.params import Rendering
from tests.toys.models import CONFIG, FEATURES, RATE, write_models
from tests.toys.project import smoke

DOMAINS, TOP_DB = CONFIG["domains"], CONFIG["top_db"]


def dataset(source):
    return Dataset(**smoke()["dataset"] | {"source": source, "folders": dict.fromkeys(DOMAINS, "recordings")})


RENDERED, OWN = dataset("soundfont"), dataset("folder")
MEAN_DB = {"piano": np.linspace(-20, -60, 84).tolist(), "guitar": np.linspace(-20, -40, 84).tolist()}


class Gain(torch.nn.Module):
    """A generator that adds a constant to normalised levels."""

    def __init__(self, change):
        super().__init__()
        self.change = torch.nn.Parameter(torch.tensor(change))

    def forward(self, z):
        return z + self.change


def change(ab=0.0, ba=0.0):
    return Change(torch.nn.ModuleDict({"ab": Gain(ab), "ba": Gain(ba)}), CONFIG)


@dataclasses.dataclass(frozen=True)
class Silencer:
    """A system that hands the source back, with every ``every``-th note's samples silent."""

    name: str
    every: int = 0
    slow = False

    def transfer(self, audio, to, seed=0):
        audio = audio.copy()
        for number in range(0, probes.NOTES, self.every) if self.every else ():
            start = probes.LEAD_S + probes.NOTE_S * number
            audio[round(start * RATE) : round((start + probes.NOTE_S) * RATE)] = 0
        return audio


def probes_of(data, rows, inverter=None):
    return probes.Probes(rows, inverter, data, DOMAINS, FEATURES, "cqt", MEAN_DB, 0.1, 1)


@pytest.fixture(scope="module")
def item():
    t = np.arange(RATE) / RATE
    audio = (0.08 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)  # 6 dB louder it stays in the range
    clip = Clip(audio, spectrum_of(audio, FEATURES, "cqt"))
    return Item("tune", "piano", "guitar", "mono", clip, clip, None, clip)


@pytest.mark.parametrize("data", [RENDERED, OWN], ids=["soundfont", "own recordings"])
def test_lost_notes_are_counted(data, item, monkeypatch):
    monkeypatch.setattr(probes, "TAKES", 1)
    rows = [Row(name, Transferred(Silencer(name, every))) for name, every in (("all", 0), ("some", 3))]
    found = probes_of(data, rows).records([item])
    value = {(r["system"], r["direction"], r["metric"]): r["value"] for r in found}
    assert len(value) == len(found)
    for direction in ("piano_to_guitar", "guitar_to_piano"):
        lost_of = {system: value[system, direction, "probe_lost_notes"] for system in ("copy", "all", "some")}
        assert lost_of["copy"] == lost_of["all"] == 0
        # Nobody can play the notes on one's own instruments.
        assert (("oracle", direction, "probe_lost_notes") in value) == (data is RENDERED)
        assert value.get(("oracle", direction, "probe_lost_notes"), 0) <= 0.1
        assert 15 <= value["copy", direction, "probe_notes"] <= 20
        assert 0.2 < lost_of["some"] < 0.5  # 7 of 20 are silent
        assert value["some", direction, "probe_lost_notes_low"] < lost_of["some"]
        assert value["some", direction, "probe_lost_notes_high"] > lost_of["some"]


def test_records_of_spectral_systems(item, tmp_path, monkeypatch):
    """Of both ways to be heard of one change: errors of its spectra once, under the first one's name."""
    monkeypatch.setattr(probes, "TAKES", 1)
    vocoders = Vocoders.load(write_models(tmp_path) / "vocoder", Rendering(vocoder="source_phase"))
    shared = change(0.1, 0.1)
    rows = [
        Row(name, Transferred(Spectral(name, shared, vocoders.by(kind))), kind)
        for name, kind in (("cyclegan", "source_phase"), ("cyclegan_griffin_lim", "griffin_lim"))
    ]
    of_item = probes_of(OWN, rows, vocoders.network("inverter"))
    found = of_item.records([item])
    assert all((r["item"], r["stratum"]) == ("all", "any") and np.isfinite(r["value"]) for r in found)
    assert {r["metric"] for r in found} <= {name for m in CATALOGUE.values() for name in m.names}
    where = {(r["metric"], r["system"]) for r in found if r["metric"].startswith("gan_")}
    assert where == {
        *((f"gan_rel_{name}", "cyclegan") for name in ("cycle", "identity")),
        *(("gan_proj_err_db", name) for name in ("cyclegan_griffin_lim", "vocoder_griffin_lim")),
    }
    other = dataclasses.replace(of_item, rms=0.2)
    assert of_item.key([item]) == of_item.key([item]) != other.key([item])


def test_random_notes_depend_on_the_generator_alone():
    notes, same, other = (probes.random_notes(40, 80, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert notes == same != other
    assert len(notes) == probes.NOTES and all(40 <= n.pitch <= 80 for n in notes)
    assert all(a.pitch != b.pitch and a.end_s <= b.start_s for a, b in zip(notes, notes[1:], strict=False))


def test_cents_off():
    notes = [PlayedNote(0.1, 0.46, 69, 80), PlayedNote(0.5, 0.86, 72, 80), PlayedNote(0.9, 1.26, 76, 80)]
    t = np.arange(round(1.4 * RATE)) / RATE
    audio = np.zeros(len(t), np.float32)
    for note, detune in zip(notes[:2], (0.0, 0.8), strict=True):
        f = 440 * 2 ** ((note.pitch + detune - 69) / 12)
        wave = sum(0.1 / k * np.sin(2 * np.pi * f * k * t) for k in (1, 2, 3))
        audio += np.where((t >= note.start_s) & (t < note.end_s), wave, 0)
    off = probes.cents_off(audio.astype(np.float32), RATE, notes)
    assert off[0] < 10 and off[1] == pytest.approx(80, abs=10) and np.isinf(off[2])


def test_relative_errors_of_known_generators(item):
    assert probes.relative_errors(change(), [item]) == {"gan_rel_cycle": 0.0, "gan_rel_identity": 0.0}
    above_db = np.clip(item.source.level_db, TOP_DB - 60, TOP_DB) - (TOP_DB - 60)
    mean = float(above_db.mean() / 30)  # of what is 0 at the floor, 2 at the top
    undone = probes.relative_errors(change(0.1, -0.1), [item])
    assert undone["gan_rel_cycle"] == pytest.approx(0, abs=1e-6)
    assert undone["gan_rel_identity"] == pytest.approx(0.1 / mean, rel=1e-3)
    kept = probes.relative_errors(change(0.1, 0.1), [item])
    assert kept["gan_rel_cycle"] == pytest.approx(0.2 / mean, rel=1e-3)
    assert probes.relative_errors(change(), []) == {}


def test_only_the_soundfonts_instruments_are_rendered():
    assert probes.rendered(RENDERED, DOMAINS) and not probes.rendered(OWN, DOMAINS)
    assert probes.rendered(dataset({"piano": "soundfont", "guitar": "soundfont"}), DOMAINS)
    assert not probes.rendered(dataset({"piano": "soundfont", "guitar": "guitarset"}), DOMAINS)
