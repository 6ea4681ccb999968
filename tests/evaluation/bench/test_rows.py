"""The rows of the table: which vocoders are heard, on how many pieces, what outputs depend on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from retimbre.audio.features import spectrum_of
from retimbre.evaluation.bench.rows import CopySynthesis, Scrambled, all_rows
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.systems import catalogue
from retimbre.systems.base import Spectral
from retimbre.systems.controls import EqualiserChange
from retimbre.vocoders.catalogue import Vocoders
from retimbre.vocoders.params import Rendering
from tests.toys.models import CONFIG, FEATURES, RATE, melody, write_models, write_resynthesis

NETWORKS = ("inverter", "istft", "wavenet")
MEAN_DB = {"piano": [-30.0] * 84, "guitar": [-25.0] * 84}
STATISTICS = {"top_db": 7.0, "mean_db": MEAN_DB, "std_db": dict.fromkeys(MEAN_DB, [10.0] * 84)}
CONTROL = EqualiserChange(
    SimpleNamespace(config=FEATURES, domains=CONFIG["domains"], statistics={"cqt": STATISTICS}), "cqt"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models")) / "vocoder"


def rows_of(folder, kind="source_phase", networks=NETWORKS, change=None):
    """Rows of untrained networks by name; ``change``: the network whose weights are other ones."""
    vocoders = Vocoders.load(folder, Rendering(vocoder=kind), networks)
    if change:
        with torch.no_grad():
            next(vocoders.network(change).network.parameters()).add_(1.0)
    heard = [vocoders.by(kind) for kind in vocoders.kinds]
    systems = {"cyclegan": [Spectral("cyclegan", CONTROL, vocoder) for vocoder in heard]}
    return {row.name: row for row in all_rows([Spectral("eq_match", CONTROL, heard[0])], heard, [], systems)}


def test_every_kind_is_heard_of_the_system_and_of_the_true_spectra(folder):
    rows = rows_of(folder)
    assert list(rows) == [
        *("copy", "eq_match", "oracle", "unrelated"),
        *("vocoder_source_phase", "vocoder_griffin_lim", "vocoder_istft", "vocoder_wavenet"),
        *("cyclegan", "cyclegan_griffin_lim", "cyclegan_istft", "cyclegan_wavenet"),
    ]
    assert {name for name, row in rows.items() if row.slow} == {
        f"{a}_{b}" for a in ("vocoder", "cyclegan") for b in ("istft", "wavenet")
    }
    assert rows["cyclegan"].vocoder == rows["eq_match"].vocoder == "source_phase"
    assert not rows["copy"].vocoder


@pytest.mark.parametrize(("kind", "slow"), [("istft", False), ("wavenet", True)])
def test_the_default_kind_makes_the_rows_without_a_kind(folder, kind, slow):
    rows = rows_of(folder, kind)
    assert rows["cyclegan"].vocoder == rows["eq_match"].vocoder == kind and rows["cyclegan"].slow == slow
    assert rows[f"vocoder_{kind}"].slow == slow and not rows["vocoder_griffin_lim"].slow
    assert f"cyclegan_{kind}" not in rows and "cyclegan_source_phase" in rows


def test_only_what_is_trained_is_heard(folder):
    rows = rows_of(folder, "griffin_lim", ("inverter", "istft"))
    assert {"cyclegan", "cyclegan_istft", "vocoder_griffin_lim", "vocoder_istft"} <= set(rows)
    assert not any("wavenet" in name for name in rows)


@pytest.mark.parametrize(
    ("network", "touched"),
    [
        ("wavenet", {"vocoder_wavenet", "cyclegan_wavenet"}),
        ("istft", {"vocoder_istft", "cyclegan_istft"}),
        (
            "inverter",
            {"eq_match", "cyclegan", "vocoder_source_phase"}
            | {f"{a}_{k}" for a in ("vocoder", "cyclegan") for k in ("griffin_lim", "istft")},
        ),
    ],
)
def test_a_row_is_made_anew_when_a_network_that_it_needs_changed(folder, network, touched):
    before, after = (rows_of(folder, change=change) for change in (None, network))
    assert {name for name in before if before[name].fingerprint() != after[name].fingerprint()} == touched


def test_which_vocoder_is_the_default_changes_no_row_of_a_vocoder(folder):
    before, after = rows_of(folder), rows_of(folder, "griffin_lim")
    same = [name for name in before if name.startswith("vocoder_")]
    assert all(before[name].fingerprint() == after[name].fingerprint() for name in same) and same


def test_rows_render(folder):
    audio = melody(1.0)
    clip = Clip(audio, spectrum_of(audio, FEATURES, "cqt"))
    item = Item("tune", "piano", "guitar", "mono", clip, clip, None, clip)
    for name, row in rows_of(folder).items():
        if not row.maker.applies(item):
            assert name == "oracle"
            continue
        sound = row.render(item, 1, FEATURES)
        assert sound.audio.shape == (RATE,) and np.isfinite(sound.audio).all(), name
        assert (sound.level_db is None) == isinstance(row.maker, CopySynthesis), name


@pytest.fixture(scope="module")
def coded(folder):
    """Rows of a system that hears what is played, through two ways to audio."""
    write_resynthesis(folder.parent)
    vocoders = Vocoders.load(folder, Rendering(vocoder="source_phase"), ("inverter", "istft"))
    ways = [catalogue.load("resynthesis", folder.parent, vocoders.by(k)) for k in ("source_phase", "istft")]
    heard = [vocoders.by(kind) for kind in vocoders.kinds]
    return {row.name: row for row in all_rows([], heard, [], {"resynthesis": ways})}


def test_a_system_that_hears_what_is_played_has_a_scrambled_control(coded):
    """Once, beside the system as it is heard by default, on as few pieces as slow rows."""
    assert list(coded)[-3:] == ["resynthesis", "resynthesis_scrambled", "resynthesis_istft"]
    system, control = coded["resynthesis"], coded["resynthesis_scrambled"]
    assert control.slow and not system.slow
    assert control.vocoder == system.vocoder == "source_phase"
    assert control.maker.system is system.maker.system
    assert control.fingerprint() != system.fingerprint()
    assert not [name for name, row in coded.items() if isinstance(row.maker, Scrambled) and row != control]


def test_scrambled_plays_another_piece_on_the_same_source(coded):
    """The code is the unrelated piece's, cut or played again; the spectrum beside it is the source's own."""
    audio, other = melody(1.0), np.roll(melody(1.5), 5000)
    clip, unrelated = (Clip(x, spectrum_of(x, FEATURES, "cqt")) for x in (audio, other))
    item = Item("tune", "harp", "guitar", "mono", clip, None, None, unrelated)
    row, change = coded["resynthesis_scrambled"], coded["resynthesis"].maker.system.change
    assert row.maker.applies(item), "whatever plays"
    wrong = row.maker.spectrum(item)
    assert np.array_equal(wrong, change.decode(change.encode(other[:RATE]), clip.level_db, "guitar"))
    assert np.abs(wrong - change.decode(change.encode(audio), clip.level_db, "guitar")).mean() > 0.01
    same = Item("tune", "harp", "guitar", "mono", clip, None, None, clip)
    own = change.decode(change.encode(audio), clip.level_db, "guitar")
    assert np.array_equal(row.maker.spectrum(same), own), "with its own piece it is the system"
    short = Item("tune", "harp", "guitar", "mono", clip, None, None, Clip(other[:6000], None))
    assert row.maker.spectrum(short).shape == own.shape
    sound = row.render(item, 1, FEATURES)
    assert sound.audio.shape == (RATE,) and np.isfinite(sound.audio).all() and np.abs(sound.audio).max() > 0
    assert sound.level_db.shape == own.shape
