"""Acceptance tests of the metrics: identity, level, order, transposition, filters, silence, octaves."""

import librosa
import numpy as np
import pytest
import scipy.signal

from retimbre.audio.chroma import chroma, pitch_class_fold
from retimbre.audio.cqt import cqt_frequencies
from retimbre.audio.levels import loudness_lufs
from retimbre.metrics import harmony
from retimbre.metrics import spectral as metrics

RATE = 16000
PIANO, REED = [1, 0.6, 0.4, 0.25, 0.15, 0.1], [1, 0.05, 0.7, 0.05, 0.5, 0.05, 0.3]
TUNE = [60, 64, 67, 72, 71, 67]


def play(pitches, partials, decay=3.0, detune=0.0):
    """A made-up instrument: harmonic tones of 0.4 s that decay, one after another, over faint noise."""
    t = np.arange(int(0.4 * RATE)) / RATE
    notes = []
    for pitch in pitches:
        f = 440 * 2 ** ((pitch + detune - 69) / 12)
        audible = [(k, a) for k, a in enumerate(partials, 1) if f * k < RATE / 2]
        tone = sum(a * np.sin(2 * np.pi * f * k * t) for k, a in audible)
        notes.append(0.2 * tone * np.exp(-decay * t) * np.minimum(1, t / 0.01))
    tune = np.concatenate(notes)
    return (tune + 5e-4 * np.random.default_rng(0).normal(size=len(tune))).astype(np.float32)


SOURCE, TARGET = play(TUNE, PIANO), play(TUNE, REED, decay=1.0)
ORACLE = play(TUNE, [1, 0.08, 0.6, 0.06, 0.5, 0.04, 0.25], decay=1.2)
UNRELATED = play([66, 61, 70, 63, 68, 61], REED, decay=1.0)
CONTROLS = {"copy": SOURCE, "oracle": ORACLE, "unrelated": UNRELATED}


C1_HZ = 32.7031956626
FOLD = pitch_class_fold(cqt_frequencies(C1_HZ, 84, 12))


def cqt_db(audio, bins_per_octave=12):
    size = {"n_bins": 7 * bins_per_octave, "bins_per_octave": bins_per_octave}
    magnitude = np.abs(librosa.cqt(audio, sr=RATE, hop_length=256, fmin=C1_HZ, **size))
    return 20 * np.log10(np.maximum(magnitude, 1e-5))


def mrstft(output, target, sample_rate):
    return metrics.paired_mrstft(output, target)


PAIRED = [
    metrics.paired_lsd,
    metrics.paired_lsd_frame,
    metrics.paired_mel_l1_db,
    mrstft,
    metrics.paired_timbre,
]


@pytest.mark.parametrize("metric", PAIRED)
def test_identity_and_gain(metric):
    assert metric(SOURCE, SOURCE, RATE) == pytest.approx(0, abs=1e-5)
    assert metric(0.5 * SOURCE, SOURCE, RATE) == pytest.approx(0, abs=2e-3)
    assert metric(TARGET, SOURCE, RATE) > 0.02


def test_gain_moves_only_loudness():
    assert metrics.content_loud_l1(SOURCE, SOURCE, RATE) == 0
    assert metrics.content_loud_l1(0.5 * SOURCE, SOURCE, RATE) == pytest.approx(6.02, abs=0.3)
    assert metrics.content_loud_corr(0.5 * SOURCE, SOURCE, RATE) == pytest.approx(1, abs=1e-2)
    assert loudness_lufs(0.5 * SOURCE, RATE) == pytest.approx(loudness_lufs(SOURCE, RATE) - 6.02, abs=0.01)


def test_feature_identity():
    db = cqt_db(SOURCE)
    assert metrics.feature_lsd(db, db, db.max()) == 0
    assert harmony.content_chroma_ratio(db, db, db, FOLD) == pytest.approx(1)
    assert harmony.content_peak_ratio(db, db, db, FOLD) == 1


def test_feature_lsd_is_the_rms_of_a_shift_and_clips():
    db = np.zeros((84, 10)) - 20.0
    assert metrics.feature_lsd(db + 3, db, top_db=0) == pytest.approx(3)
    assert metrics.feature_lsd(db - 90, db - 70, top_db=0) == 0  # both under the floor
    half = db.copy()
    half[:42] += 4
    assert metrics.feature_lsd(half, db, top_db=0) == pytest.approx(np.sqrt(8))


def test_the_best_shift_is_found_and_taken_out():
    x = np.random.default_rng(0).normal(size=(10, 40))
    late, early = np.pad(x, ((0, 0), (2, 0)))[:, :40], np.pad(x, ((0, 0), (0, 1)))[:, 1:]
    assert metrics.best_shift(late, x, 3.0) == (2, 0.0)
    assert metrics.best_shift(early, x, 3.0) == (-1, 0.0)
    assert metrics.best_shift(x, x, 3.0) == (0, 0.0)
    silence = np.full_like(x, -100)
    assert metrics.best_shift(silence, x, 3.0)[1] <= metrics.feature_lsd(silence, x, 3.0)
    assert metrics.best_shift(silence, silence, 3.0) == (0, 0.0), "of equal ones the nearest to none"
    assert metrics.best_shift(x[:, :1], x[:, :1], 3.0) == (0, 0.0), "a single frame cannot be moved"
    assert [y.tolist() for y in metrics.aligned(np.arange(5), np.arange(5), 2)] == [[2, 3, 4], [0, 1, 2]]
    assert [y.tolist() for y in metrics.aligned(np.arange(5), np.arange(4), -1)] == [[0, 1, 2], [1, 2, 3]]


def test_ordering_of_the_controls():
    lsd = {n: metrics.paired_lsd(x, TARGET, RATE) for n, x in CONTROLS.items()}
    assert lsd["oracle"] < lsd["copy"] < lsd["unrelated"]
    timbre = {n: metrics.paired_timbre(x, TARGET, RATE) for n, x in CONTROLS.items()}
    assert timbre["oracle"] < timbre["unrelated"] < timbre["copy"]
    source, target = cqt_db(SOURCE), cqt_db(TARGET)
    ratio = {n: harmony.content_chroma_ratio(cqt_db(x), source, target, FOLD) for n, x in CONTROLS.items()}
    assert ratio["copy"] >= ratio["oracle"] > 0.8 > ratio["unrelated"]


def test_lsd_is_that_of_the_published_script():
    """ss-vq-vae's evaluation: librosa's log-mel spectra of levelled audio, RMS over time, mean over bands."""
    levelled = (x / np.sqrt(np.mean(np.square(x, dtype=float))) for x in (SOURCE, TARGET))
    powers = (librosa.feature.melspectrogram(y=x, sr=RATE) for x in levelled)
    ours, theirs = map(librosa.power_to_db, powers)
    expected = np.sqrt(((ours - theirs) ** 2).mean(axis=1)).mean()
    assert metrics.paired_lsd(SOURCE, TARGET, RATE) == pytest.approx(expected, rel=1e-5)


def test_transposition_ruins_content_not_timbre_and_lowpass_the_reverse():
    up = play([p + 1 for p in TUNE], PIANO)
    low = scipy.signal.sosfilt(scipy.signal.butter(6, 900, fs=RATE, output="sos"), SOURCE).astype(np.float32)
    source = cqt_db(SOURCE)
    assert harmony.content_peak_ratio(cqt_db(up), source, source, FOLD) < 0.3
    assert harmony.content_peak_ratio(cqt_db(low), source, source, FOLD) > 0.9
    assert metrics.paired_timbre(up, SOURCE, RATE) < 0.05 < metrics.paired_timbre(low, SOURCE, RATE)


def test_octave_shift_keeps_chroma():
    up, source = cqt_db(play([p + 12 for p in TUNE], PIANO)), cqt_db(SOURCE)
    assert harmony.content_chroma_ratio(up, source, source, FOLD) > 0.9
    assert harmony.content_peak_ratio(up, source, source, FOLD) > 0.9


def test_chroma_is_the_same_at_24_bins_per_octave():
    fine = chroma(cqt_db(SOURCE, 24), pitch_class_fold(cqt_frequencies(C1_HZ, 168, 24))).argmax(axis=0)
    coarse = chroma(cqt_db(SOURCE), FOLD).argmax(axis=0)
    assert (fine == coarse).mean() > 0.9
    assert coarse[10] == 0  # the tune starts on C and the lowest bin is a C


def test_silent_output_fails():
    silence = np.zeros_like(SOURCE)
    floor, source = np.full_like(cqt_db(SOURCE), -100.0), cqt_db(SOURCE)
    assert harmony.content_chroma_ratio(floor, source, source, FOLD) == pytest.approx(0, abs=1e-6)
    assert harmony.content_peak_ratio(floor, source, source, FOLD) == 0
    assert metrics.content_loud_corr(silence, SOURCE, RATE) == 0
    assert metrics.paired_timbre(silence, SOURCE, RATE) == 1
    assert metrics.paired_lsd(silence, SOURCE, RATE) > metrics.paired_lsd(UNRELATED, SOURCE, RATE)
    assert metrics.paired_mel_l1_db(silence, SOURCE, RATE) > 5
    assert metrics.fail_muted(silence, SOURCE) == 1
    assert metrics.fail_level(silence, SOURCE, RATE) == 1


def test_silent_reference_is_undefined_not_perfect():
    silence, floor = np.zeros_like(SOURCE), np.full((84, 20), -100.0)
    assert np.isnan(harmony.content_chroma_ratio(floor, floor, floor, FOLD))
    assert np.isnan(metrics.content_loud_corr(SOURCE, silence, RATE))
    assert np.isnan(metrics.paired_timbre(SOURCE, silence, RATE))
    assert np.isnan(metrics.paired_mrstft(SOURCE, silence))
    assert metrics.paired_lsd(silence, silence, RATE) == metrics.paired_mel_l1_db(silence, silence, RATE) == 0
    assert metrics.fail_muted(silence, silence) == metrics.fail_level(silence, silence, RATE) == 0


def test_failure_detectors_stay_quiet_on_good_outputs():
    assert metrics.fail_muted(TARGET, SOURCE) == 0
    assert metrics.fail_level(0.7 * SOURCE, SOURCE, RATE) == 0
    assert metrics.fail_level(0.4 * SOURCE, SOURCE, RATE) == 1
    half = TARGET.copy()
    half[len(half) // 3 :] = 0
    assert metrics.fail_muted(half, SOURCE) == 1
    real = np.array([8.0, 9.0, 10.0, 11.0])
    assert metrics.fail_unchanged(0.5, real) == 1
    assert metrics.fail_unchanged(9.5, real) == 0


def test_collapsed():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(10, 12))
    assert metrics.fail_collapsed(targets[0] + 0.1 * targets, targets) == 1
    assert metrics.fail_collapsed(rng.normal(size=(10, 12)), targets) == 0
    assert metrics.fail_collapsed(targets[:1], targets) == 0


@pytest.mark.parametrize("metric", PAIRED)
def test_refuses_what_cannot_be_compared(metric):
    with pytest.raises(ValueError, match="cut or pad"):
        metric(SOURCE[:-1], SOURCE, RATE)
    with pytest.raises(ValueError, match="not finite"):
        metric(np.full_like(SOURCE, np.nan), SOURCE, RATE)
    with pytest.raises(ValueError, match="filled array"):
        metric(SOURCE[:0], SOURCE[:0], RATE)


def test_match_length():
    assert metrics.match_length(np.ones(5), 3).tolist() == [1, 1, 1]
    assert metrics.match_length(np.ones(2), 3).tolist() == [1, 1, 0]
