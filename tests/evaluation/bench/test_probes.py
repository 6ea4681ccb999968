"""The pitch test and the errors of generators, with generators whose behaviour is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.evaluation.bench import probes
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.systems.cyclegan.system import CycleGan

RATE, DOMAINS, TOP_DB = 16000, ["piano", "guitar"], 7.0
CONFIG = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)
RENDERED, OWN = (SimpleNamespace(source=s, soundfont=None) for s in ("soundfont", "folder"))


class Gain(torch.nn.Module):
    """A generator that adds a constant to normalised levels."""

    def __init__(self, change):
        super().__init__()
        self.change = torch.nn.Parameter(torch.tensor(change))

    def forward(self, z):
        return z + self.change


def generator(ab=0.0, ba=0.0):
    mean_db = {"piano": np.linspace(-20, -60, 84).tolist(), "guitar": np.linspace(-20, -40, 84).tolist()}
    config = {
        "domains": DOMAINS,
        "features": CONFIG.to_dict(),
        "representation": "cqt",
        "top_db": TOP_DB,
        "mean_db": mean_db,
    }
    return CycleGan(torch.nn.ModuleDict({"ab": Gain(ab), "ba": Gain(ba)}), config)


class Shifter:
    """A vocoder that hands the source back: by ``griffin_lim`` with every third note's samples silent."""

    config = {"rms": 0.1}
    main_kinds = ["source_phase", "griffin_lim"]

    def __init__(self, kind="source_phase"):
        self.kind = kind

    def synthesise(self, kind, level_db, length, domain, source, seed):
        audio = source.copy()
        if kind == "griffin_lim":
            for start in probes.LEAD_S + probes.NOTE_S * np.arange(0, probes.NOTES, 3):
                audio[round(start * RATE) : round((start + probes.NOTE_S) * RATE)] = 0
        return audio

    def stft_magnitude(self, level_db):
        return torch.ones(1, 513, level_db.shape[1])


@pytest.fixture(scope="module")
def extractor():
    return FeatureExtractor(CONFIG)


@pytest.fixture(scope="module")
def item(extractor):
    t = np.arange(RATE) / RATE
    audio = (0.2 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    with torch.no_grad():
        clip = Clip(audio, decibels(extractor(torch.from_numpy(audio)[None], "cqt"))[0].numpy())
    return Item("tune", "piano", "guitar", "mono", clip, clip, None, clip)


@pytest.mark.parametrize("dataset", [RENDERED, OWN], ids=["soundfont", "own recordings"])
def test_lost_notes_are_counted(dataset, extractor, item, monkeypatch):
    monkeypatch.setattr(probes, "TAKES", 1)
    found = probes.records(generator(), Shifter(), extractor, [item], dataset, 1)
    value = {(r["system"], r["direction"], r["metric"]): r["value"] for r in found}
    assert len(value) == len(found)
    for direction in ("piano_to_guitar", "guitar_to_piano"):
        assert (
            value["copy", direction, "probe_lost_notes"]
            == value["cyclegan", direction, "probe_lost_notes"]
            == 0
        )
        if dataset is RENDERED:
            assert value["oracle", direction, "probe_lost_notes"] <= 0.1
        else:
            assert (
                "oracle",
                direction,
                "probe_lost_notes",
            ) not in value  # nobody can play the notes on one's own instruments
        assert 15 <= value["copy", direction, "probe_notes"] <= 20
        lost = value["cyclegan_griffin_lim", direction, "probe_lost_notes"]
        assert 0.2 < lost < 0.5  # 7 of 20 are silent
        low, high = (
            value["cyclegan_griffin_lim", direction, f"probe_lost_notes_{end}"] for end in ("low", "high")
        )
        assert low < lost < high


def test_rows_are_named_by_the_default_vocoder(extractor, item, monkeypatch):
    monkeypatch.setattr(probes, "TAKES", 1)
    found = probes.records(generator(), Shifter("griffin_lim"), extractor, [item], OWN, 1)
    assert {"cyclegan", "cyclegan_source_phase"} <= {r["system"] for r in found}
    assert "cyclegan_griffin_lim" not in {r["system"] for r in found}
    assert all((r["item"], r["stratum"]) == ("all", "any") and np.isfinite(r["value"]) for r in found)


def test_random_notes_depend_on_the_generator_alone():
    notes = probes.random_notes(40, 80, np.random.default_rng(1))
    assert (
        notes
        == probes.random_notes(40, 80, np.random.default_rng(1))
        != probes.random_notes(40, 80, np.random.default_rng(2))
    )
    assert len(notes) == probes.NOTES and all(40 <= n.pitch <= 80 for n in notes)
    assert all(a.pitch != b.pitch and a.end_s <= b.start_s for a, b in zip(notes, notes[1:], strict=False))


def test_cents_off():
    notes = [PlayedNote(0.1, 0.46, 69, 80), PlayedNote(0.5, 0.86, 72, 80), PlayedNote(0.9, 1.26, 76, 80)]
    t = np.arange(round(1.4 * RATE)) / RATE
    audio = np.zeros(len(t), np.float32)
    for note, detune in zip(notes[:2], (0.0, 0.8), strict=True):
        f = 440 * 2 ** ((note.pitch + detune - 69) / 12)
        audio += np.where(
            (t >= note.start_s) & (t < note.end_s),
            sum(0.1 / k * np.sin(2 * np.pi * f * k * t) for k in (1, 2, 3)),
            0,
        )
    off = probes.cents_off(audio.astype(np.float32), RATE, notes)
    assert off[0] < 10 and off[1] == pytest.approx(80, abs=10) and np.isinf(off[2])


def test_relative_errors_of_known_generators(item):
    assert probes.relative_errors(generator(), [item]) == {"gan_rel_cycle": 0.0, "gan_rel_identity": 0.0}
    mean = float(
        (np.clip(item.source.level_db, TOP_DB - 60, TOP_DB) - (TOP_DB - 60)).mean() / 30
    )  # of what is 0 at the floor, 2 at the top
    undone = probes.relative_errors(generator(0.1, -0.1), [item])
    assert undone["gan_rel_cycle"] == pytest.approx(0, abs=1e-6) and undone[
        "gan_rel_identity"
    ] == pytest.approx(0.1 / mean, rel=1e-3)
    kept = probes.relative_errors(generator(0.1, 0.1), [item])
    assert kept["gan_rel_cycle"] == pytest.approx(0.2 / mean, rel=1e-3)
    assert probes.relative_errors(generator(), []) == {}


def test_only_the_soundfonts_instruments_are_rendered():
    assert probes.rendered(RENDERED, DOMAINS) and not probes.rendered(OWN, DOMAINS)
    assert probes.rendered(SimpleNamespace(source={"piano": "soundfont", "guitar": "soundfont"}), DOMAINS)
    assert not probes.rendered(SimpleNamespace(source={"piano": "soundfont", "guitar": "guitarset"}), DOMAINS)
