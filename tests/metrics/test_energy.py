"""Notes by energy, on renders of known notes that were taken away, weakened or doubled."""

import numpy as np
import pytest
import soxr

from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.metrics.energy import Places, energy_scores
from retimbre.metrics.notes import Notes

RATE, SECONDS = 16000, 4.0
CONFIG = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 188, 24, 1024, 80, 60.0)
BASS, TOP = [55, 45, 47, 57], [65, 60, 63, 77, 61, 76, 70, 67]
PLAYED = [PlayedNote(0.1 + 0.9 * i, 0.9 + 0.9 * i, p, 80) for i, p in enumerate(BASS)]
PLAYED += [PlayedNote(0.1 + 0.45 * i, 0.5 + 0.45 * i, p, 80) for i, p in enumerate(TOP)]
SCORE = Notes(np.array([n[:2] for n in PLAYED]), np.array([n.pitch for n in PLAYED], float))


def render(played, program):
    audio = soundfont.render(played, program, soundfont.default_font(), SECONDS)
    return soxr.resample(audio, soundfont.RENDER_RATE, RATE).astype(np.float32)


def spectrum(audio):
    return spectrum_of(audio, CONFIG, "cqt")


PLACES = Places.of(SCORE, CONFIG.frequencies_hz("cqt"), RATE / 256, int(SECONDS * RATE) // 256 + 1)
HEARD = np.isfinite(PLACES.energies_db(np.zeros((188, 251))))  # (notes, 3): unmasked


@pytest.fixture(scope="module", params=[0, 24], ids=["piano", "guitar"])
def program(request):
    return request.param


@pytest.fixture(scope="module")
def target(program):
    return render(PLAYED, program)


def errors_db(audio, target):
    """Output minus target of every note and its octaves, (notes, 3)."""
    return PLACES.energies_db(spectrum(audio)) - PLACES.energies_db(spectrum(target))


def test_most_notes_and_some_octaves_are_heard_apart():
    assert HEARD[:, 0].sum() >= 10 and HEARD[:, 1].sum() >= 5 and HEARD[:, 2].sum() >= 5


@pytest.mark.parametrize("gone", np.flatnonzero(HEARD[:, 0]))
def test_a_note_that_is_taken_away_is_lost_and_no_other(program, target, gone):
    without = render([n for i, n in enumerate(PLAYED) if i != gone], program)
    lost = errors_db(without, target)[:, 0] < -6
    assert np.flatnonzero(lost).tolist() == [gone]
    scores = energy_scores(spectrum(without), spectrum(target), 0, PLACES)
    assert scores["energy_lost"] == pytest.approx(1 / HEARD[:, 0].sum()) and scores["energy_ghosts"] == 0


@pytest.mark.parametrize("weak", np.flatnonzero(HEARD[:, 0]))
def test_a_note_that_is_10_db_weaker_is_10_db_weaker(program, target, weak):
    alone = target - render([n for i, n in enumerate(PLAYED) if i != weak], program)
    found = errors_db(target - (1 - 10 ** (-10 / 20)) * alone, target)[:, 0]
    assert found[weak] == pytest.approx(-10, abs=1.5)
    assert np.nanmax(np.abs(np.delete(found, weak))) < 2


@pytest.mark.parametrize(("place", "octave"), [(1, 12), (2, -12)])
def test_an_octave_that_doubles_a_note_is_a_ghost_of_it(program, target, place, octave):
    found, share = [], []
    for n in np.flatnonzero(HEARD[:, place]):
        ghost = render([PLAYED[n]._replace(pitch=PLAYED[n].pitch + octave)], program)
        found.append(errors_db(target + ghost, target)[n, place] > 6)
        share.append(energy_scores(spectrum(target + ghost), spectrum(target), 0, PLACES)["energy_ghosts"])
    # Of the lowest notes the second partial is as strong as the octave that is added: 3 dB, no ghost.
    assert np.mean(found) >= 0.8
    # Now and then it is heard at a neighbour's octave, too.
    ghosts = np.array(share) * HEARD[:, 1:].sum()
    assert (ghosts >= np.array(found) - 1e-6).all() and ghosts.mean() < 1.3


def test_a_second_performance_of_other_velocities_has_few_of_either(program, target):
    rng = np.random.default_rng(3)
    again = [n._replace(velocity=int(np.clip(rng.normal(80, 9), 60, 100))) for n in PLAYED]
    scores = energy_scores(spectrum(render(again, program)), spectrum(target), 0, PLACES)
    assert abs(scores["energy_error_db"]) < 2
    assert scores["energy_lost"] <= 0.1 and scores["energy_ghosts"] <= 0.1


def test_a_lag_of_whole_frames_is_taken_out(target):
    late = np.pad(target, (512, 0))[: len(target)]
    scores = energy_scores(spectrum(late), spectrum(target), 2, PLACES)
    assert scores == pytest.approx({"energy_error_db": 0, "energy_lost": 0, "energy_ghosts": 0}, abs=0.02)


def test_silence_loses_everything_and_a_silent_target_says_nothing(target):
    silence, sound = np.zeros_like(target), spectrum(target)
    lost = energy_scores(spectrum(silence), sound, 0, PLACES)
    assert lost == {"energy_error_db": -30, "energy_lost": 1, "energy_ghosts": 0}
    assert np.isnan(list(energy_scores(sound, spectrum(silence), 0, PLACES).values())).all()


def test_partials_that_other_notes_share_do_not_count():
    frequencies = CONFIG.frequencies_hz("cqt")

    def places(*notes):
        spans = np.array([n[:2] for n in notes], float)
        score = Notes(spans, np.array([n[2] for n in notes], float))
        return np.isfinite(Places.of(score, frequencies, 62.5, 126).energies_db(np.zeros((188, 126))))

    # An octave apart: nothing of the upper one is its own, and the lower one's octave above is no ghost.
    both = places((0, 1, 48), (0, 1, 60))
    assert both[:, 0].tolist() == [True, False] and not both[0, 1] and not both[1, 2]
    assert places((0, 0.5, 48), (0.5, 1, 60))[:, :2].all(), "they do not sound together"
    # What begins before or after the recording, or is too short to be measured, is left out.
    assert places((-0.1, 1, 48), (2.1, 3, 60), (1.5, 1.51, 72)).sum() == 0
    assert Places.of(Notes(np.zeros((0, 2)), np.zeros(0)), frequencies, 62.5, 126).notes == 0
