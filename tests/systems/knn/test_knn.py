"""Frames found again by their notes: alone, in chords, moved, on and on; then pools of toy recordings."""

from pathlib import Path

import numpy as np
import pytest

from retimbre.audio.levels import rms
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.nn.transcriber.content import CHANNELS, LOUDNESS, NOTE, ONSET, Content
from retimbre.systems import catalogue
from retimbre.systems.base import Coded
from retimbre.systems.knn import notes
from retimbre.systems.knn.params import Params
from retimbre.systems.knn.retrieval import Pool, Search
from retimbre.systems.knn.system import Change
from retimbre.systems.knn.train import fit
from retimbre.systems.knn.train import pool as gathered
from tests.toys.features import run_of
from tests.toys.models import FEATURES, melody
from tests.toys.project import smoke
from tests.toys.tunes import write_tunes

FREQUENCIES_HZ = FEATURES.frequencies_hz("cqt")
SEARCH = dict(neighbours=1, candidates=4, semitones=6, continuity=0.5, follow=0.0, additive=True)


def content(*played: tuple[int, int, int], frames: int = 60) -> np.ndarray:
    """Content (T, C) of notes (key, first frame, end)."""
    found = np.zeros((frames, CHANNELS), np.float32)
    found[:, LOUDNESS] = -1
    for key, first, end in played:
        found[first:end, NOTE][:, key] = np.linspace(0.9, 0.5, end - first)
        found[first, ONSET.start + key] = 0.9
        found[first:end, LOUDNESS] = np.linspace(0.5, 0, end - first)[:, None]
    return found


def spectra(heard: np.ndarray, seed: int = 0) -> np.ndarray:
    """A spectrum (T, F) in dB with the partials of what is heard, no two frames alike."""
    power = heard[:, NOTE] @ notes.combs(FREQUENCIES_HZ) + 1e-4
    rng = np.random.default_rng(seed)
    return (10 * np.log10(power) + rng.normal(0, 1, power.shape)).astype(np.float32)


def pool(*recordings: np.ndarray) -> Pool:
    starts = np.cumsum([0, *map(len, recordings)])[:-1]
    every = np.concatenate([spectra(x, i) for i, x in enumerate(recordings)])
    return Pool(every, np.concatenate(recordings), starts, FREQUENCIES_HZ, 0.3)


def asked(theirs: Pool, heard: np.ndarray, **changes: object) -> np.ndarray:
    """The spectrum (T, F) that a pool gives for content."""
    return Search(**SEARCH | changes).spectrum(theirs, heard, 320).T


def test_notes_have_ages_and_frames_without_notes_are_rests() -> None:
    heard = content((40, 5, 30), (47, 10, 20))
    heard[18, ONSET.start + 40] = 0.9  # struck again
    found = notes.events(heard, 0.3)
    assert (np.diff(found.pitch) >= 0).all() and set(found.pitch) == {40, 47, notes.REST}
    own = found.frame[found.pitch == 40]
    assert own.tolist() == list(range(5, 30))
    assert (found.pitch == notes.REST).sum() == 60 - 25
    age = notes.ages(heard[:, NOTE] > 0.3, heard[:, ONSET])
    assert age[[4, 5, 17, 18, 20], 40].tolist() == [0, 1, 13, 1, 3]


def test_shares_of_a_chord_add_up_to_its_frame() -> None:
    theirs = pool(content((40, 0, 60), (44, 0, 60), (52, 0, 60)))
    of = np.flatnonzero(theirs.events.frame == 7)
    power = 10 ** (theirs.shares(of) / 10)
    assert len(of) == 3
    np.testing.assert_allclose(10 * np.log10(power.sum(0)), theirs.spectra[7], atol=0.01)
    # Each note owns its fundamental.
    assert (power[0] > 10 * power[1])[np.argmax(notes.combs(FREQUENCIES_HZ)[40])]


def test_what_a_pool_holds_comes_out_as_it_was() -> None:
    heard = content((40, 3, 50), (47, 10, 40))
    theirs = pool(heard, content((52, 0, 60)))
    # Before and after are rests, which are all alike.
    np.testing.assert_allclose(asked(theirs, heard)[3:50], theirs.spectra[3:50], atol=0.01)


def test_a_note_is_found_some_semitones_away_and_moved() -> None:
    theirs = pool(content((40, 0, 60)))
    made = asked(theirs, content((43, 0, 60)))
    np.testing.assert_allclose(made[:, 13:], theirs.spectra[:, 10:-3], atol=0.01)
    far = asked(theirs, content((60, 0, 60)))
    assert (far <= -119).all(), "nothing is there to be found"


def test_distances_are_as_exact_as_the_keys() -> None:
    """Of events that differ less than the rounding of a product of large keys."""
    heard = content((40, 0, 60))
    theirs = pool(heard + np.float32(1e-4), heard + np.float32(2e-4))
    keys = notes.events(heard, 0.3).keys[:60]
    found, squares = Search(**SEARCH).nearest(theirs, keys, 40)
    exact = np.square(theirs.events.keys[found].astype(float) - keys[:, None]).sum(2)
    np.testing.assert_allclose(squares, exact, rtol=1e-4)


def test_ways_stay_in_a_recording_if_leaving_costs() -> None:
    heard, twins = content((40, 0, 60)), []
    for i, far in enumerate((0.003, 0.004)):  # nearer for five frames in turn, on the whole the first
        other = heard.copy()
        other[:, NOTE.start + 40] += np.where(np.arange(60) // 5 % 2 == i, 0, far)
        twins.append(other)
    theirs = pool(*twins)

    def changes(continuity: float) -> int:
        made = asked(theirs, heard, continuity=continuity)
        which = [np.abs(made - theirs.spectra[i * 60 : i * 60 + 60]).max(1) < 0.01 for i in (0, 1)]
        assert (which[0] | which[1]).all()
        return int(np.abs(np.diff(which[0].astype(int))).sum())

    assert changes(0.0) > 5
    assert changes(5.0) == 0


def test_partials_of_several_neighbours_are_not_dulled() -> None:
    theirs = pool(*[content((40, 0, 60))] * 4)
    heard, comb = content((40, 0, 60)), notes.combs(FREQUENCIES_HZ)[40] > 0.05
    bright, dull = (asked(theirs, heard, neighbours=4, additive=x).mean(0) for x in (True, False))
    assert (bright[comb] > dull[comb] + 0.05).all()
    np.testing.assert_allclose(bright[~comb], dull[~comb], atol=1e-4)


def test_a_louder_note_is_made_louder() -> None:
    heard = content((40, 0, 60))
    heard[:, LOUDNESS] = 0
    theirs, louder = pool(heard), heard.copy()
    louder[:, LOUDNESS] = 0.2  # 6 dB
    plain, followed = (asked(theirs, louder, follow=x) for x in (0.0, 1.0))
    np.testing.assert_allclose(followed - plain, 6, atol=1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_tunes(tmp_path_factory.mktemp("tunes"), content=True)


def test_a_pool_holds_whole_recordings_as_they_are_heard(data: Data) -> None:
    found = gathered(data, "guitar", 0.01, 0)  # minutes
    assert found["starts"].tolist() == [0] and found["content"].dtype == np.float16
    heard = Content(data.features.config)
    own = [heard.frames(data.audio.read(e)) for e in data.audio.excerpts(domain="guitar")]
    assert any(np.array_equal(found["content"], x[:, -notes.HEARD :].astype(np.float16)) for x in own)
    whole = gathered(data, "guitar", 1.0, 0)
    assert whole["starts"].tolist() == [0, len(own[0])] and len(whole["spectra"]) == sum(map(len, own))


def test_pools_are_gathered_stored_and_heard(data: Data, tmp_path: Path) -> None:
    p = Params.model_validate(smoke()["knn"])
    change, _ = fit(data, p, run_of())
    again, _ = fit(data, p, run_of())
    assert isinstance(change, Coded) and change.sources is None and change.targets == ["piano", "guitar"]
    assert (again.pools["piano"].content == change.pools["piano"].content).all()
    catalogue.store("knn", p, change, tmp_path / "knn")
    loaded, x = Change.load(tmp_path / "knn"), melody(2.0)
    x *= 0.1 / rms(x)
    code = change.encode(x)
    made, same = (one.decode(code, np.zeros((84, len(code))), "guitar") for one in (change, loaded))
    assert made.shape == (84, len(code)) and np.isfinite(made).all()
    assert made.max() > change.top_db - 40, "something sounds"
    np.testing.assert_array_equal(made, same)
    with pytest.raises(RetimbreError, match="choose piano, guitar"):
        change.decode(code, made, "harp")


def test_bins_that_no_semitone_fits_are_refused(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    config = data.features.config.to_dict() | {"cqt_bins_per_octave": 14}
    monkeypatch.setattr(data.features, "config", type(FEATURES).from_dict(config))
    with pytest.raises(RetimbreError, match="cqt_bins_per_octave is 14: knn moves notes by semitones"):
        fit(data, Params.model_validate(smoke()["knn"]), run_of())
