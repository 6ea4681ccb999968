"""What `retimbre data inspect` finds in recordings whose content is known."""

import json

import numpy as np
import pytest
import soundfile

from retimbre.datasets.recordings import inspection
from retimbre.datasets.recordings.inspection import inspect, note_name
from retimbre.datasets.recordings.manifest import Recording, write_manifest
from retimbre.errors import RetimbreError

RATE = 16000


def tone(midi, seconds=4.0, harmonics=6, gain=0.1, rate=RATE):
    t = np.arange(int(rate * seconds)) / rate
    f = 440 * 2 ** ((midi - 69) / 12)
    return gain * sum(np.sin(2 * np.pi * f * h * t) / h for h in range(1, harmonics + 1) if f * h < rate / 2)


def tune(seed, low, high, notes=8, gain=0.1):
    return np.concatenate(
        [tone(m, 0.5, gain=gain) for m in np.random.default_rng(seed).integers(low, high + 1, notes)]
    )


class Raw:
    """A data/raw folder in the making."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []

    def add(self, domain, piece, split, audio, rate=RATE, suffix="wav", subtype=None):
        path = f"{split}/{domain}/{piece}.{suffix}"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(self.folder / path, audio, rate, subtype=subtype)
        self.rows.append(
            Recording(path, domain, piece, split, "", 0.0, len(audio) / rate, rate, "test", "CC0")
        )
        return path

    def inspect(self):
        write_manifest(self.folder, self.rows)
        return inspect(self.folder)


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


@pytest.mark.parametrize("midi", [36, 48, 60, 72, 84])
@pytest.mark.parametrize("harmonics", [1, 8])
def test_pitch_of_a_tone_is_found(raw, midi, harmonics):
    raw.add("harp", "a", "train", tone(midi, harmonics=harmonics))
    (row,) = raw.inspect().summaries
    assert (row.pitch_low, row.pitch_median, row.pitch_high) == (midi, midi, midi)


def test_level_hours_silence_and_rates(raw):
    sound = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
    raw.add("harp", "a", "train", np.concatenate([sound, np.zeros(RATE)]))
    (row,) = raw.inspect().summaries
    assert row.level_db == pytest.approx(-20, abs=0.2)  # of the sounding part alone
    assert row.silent_share == pytest.approx(0.25, abs=0.01)
    assert (
        row.hours == pytest.approx(4 / 3600)
        and row.sample_rates_hz == [RATE]
        and row.recordings == row.pieces == 1
    )


def test_nothing_but_silence_has_no_level_and_no_pitch(raw):
    raw.add("harp", "a", "train", np.zeros(2 * RATE))
    found = raw.inspect()
    assert found.summaries[0].level_db is None and found.summaries[0].pitch_low is None
    assert any("100% of harp's training audio is silent" in w for w in found.warnings)
    assert "nan" not in json.dumps(found.to_dict()).lower() and " - " in inspection.as_text(found)


def test_the_same_music_in_two_splits_is_found_in_another_format_level_and_rate(raw):
    music = tune(1, 50, 70, notes=16)
    one = raw.add("harp", "a", "train", music)
    import soxr

    other = raw.add("harp", "b", "test", 0.5 * soxr.resample(music, RATE, 22050), rate=22050, suffix="mp3")
    raw.add("harp", "c", "train", tune(2, 50, 70, notes=16))
    found = raw.inspect()
    assert found.duplicates == [[one, other]]
    assert any("train and test" in w and one in w for w in found.warnings)


def test_the_same_file_under_two_instruments_is_named(raw):
    music = tune(1, 50, 70)
    raw.add("harp", "a", "train", music)
    raw.add("lute", "b", "train", music)
    assert any("in harp and lute" in w for w in raw.inspect().warnings)


def test_different_tunes_of_equal_length_and_range_are_no_duplicates(raw):
    for i in range(12):
        raw.add("harp", f"p{i}", "train", tune(i, 55, 67))
    assert raw.inspect().duplicates == []


def test_ranges_and_levels_far_apart_are_warned_of(raw):
    raw.add("bass", "a", "train", tune(0, 28, 40, gain=0.005))
    raw.add("flute", "b", "train", tune(1, 72, 90))
    warnings = raw.inspect().warnings
    assert any("bass (" in w and "hardly overlap" in w for w in warnings)
    assert any("differ by" in w and "dB in level" in w for w in warnings)
    assert any("minutes of training audio" in w for w in warnings)


def test_domains_alike_are_not_warned_of(raw):
    raw.add("harp", "a", "train", np.tile(tune(0, 50, 70, notes=40), 12))
    raw.add("lute", "b", "train", np.tile(tune(1, 50, 70, notes=40), 12))
    assert raw.inspect().warnings == []


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_measured(raw):
    path = raw.add("harp", "a", "train", tone(60))
    raw.add("harp", "b", "train", tone(62))
    (raw.folder / path).write_bytes(b"RIFF, but nothing else")
    found = raw.inspect()
    assert any(path in w for w in found.warnings) and found.summaries[0].level_db is not None


def test_long_recordings_are_measured_in_pieces(raw, monkeypatch):
    music = tune(3, 50, 70, notes=16)
    raw.add("harp", "a", "train", music)
    whole = raw.inspect().summaries[0]
    monkeypatch.setattr(inspection, "PIECE_S", 64 * inspection.HOP / RATE)
    parts = inspect(raw.folder).summaries[0]
    assert (
        parts.level_db == pytest.approx(whole.level_db, abs=0.01) and parts.pitch_median == whole.pitch_median
    )


def test_no_manifest_is_said_in_a_sentence(tmp_path):
    with pytest.raises(RetimbreError, match="dvc repro download"):
        inspect(tmp_path)


def test_note_names():
    assert [note_name(m) for m in (24, 60, 69, 70)] == ["C1", "C4", "A4", "A#4"]
