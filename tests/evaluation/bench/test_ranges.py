"""``in`` and ``out`` of the target's range, from MIDI and from transcriptions."""

import numpy as np
import pytest

from retimbre.datasets.packed.format import AudioWriter, PackedAudio
from retimbre.datasets.recordings.manifest import Recording, write_manifest
from retimbre.datasets.scores.performance import PlayedNote, write_midi
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.ranges import Ranges, midi_pitches, with_ranges
from retimbre.evaluation.bench.scores import with_scores
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.metrics.notes import Transcription

RATE = 16000


def coded(pitches, seconds=1.0):
    """Audio whose first samples are MIDI pitches / 128, which ``Hear`` reads without a mistake."""
    x = np.zeros(int(RATE * seconds), np.float32)
    x[: len(pitches)] = np.array(pitches) / 128
    return x


class Hear:
    heard = 0

    def __call__(self, audio, sample_rate):
        type(self).heard += 1
        pitches = np.rint(audio[audio > 0] * 128)
        return Transcription(np.zeros((len(pitches), 2)), pitches, np.zeros((1, 88), np.float32))


@pytest.fixture
def packed(tmp_path):
    """Training recordings: the harp plays 40..59, the lute 60..79."""
    with AudioWriter(tmp_path / "audio", RATE, 0.1, 100) as writer:
        for domain, low in (("harp", 40), ("lute", 60)):
            for n in range(3):
                audio = (coded(range(low, low + 20)) * 32768).astype(np.int16)
                writer.add(audio, domain, "train", f"{domain}{n}", "")
    return PackedAudio(tmp_path / "audio")


def item(pitches, paired=False, piece="p"):
    source = Clip(coded(pitches), np.zeros((84, 63), np.float32))
    return Item(piece, "harp", "lute", "any", source, source if paired else None, None, source)


def test_without_midi_everything_is_transcribed_once(packed, tmp_path):
    cache = Cache(tmp_path / "cache")
    heard = {"a": [60, 70, 79], "b": [50, 60, 70], "c": [], "d": [59] + 19 * [70]}
    items = [item(pitches, piece=piece) for piece, pitches in heard.items()]
    Hear.heard = 0
    named = with_ranges(items, Ranges(tmp_path / "none", packed, Hear, cache))
    # One mistake in twenty notes is the transcriber's.
    assert [i.range for i in named] == ["in", "out", "any", "in"]
    assert Hear.heard == 5, "one of each different recording"
    with_ranges(items, Ranges(tmp_path / "none", packed, Hear, cache))
    assert Hear.heard == 5


def test_midi_of_paired_pieces_is_exact(packed, tmp_path):
    raw = tmp_path / "raw"
    notes = {"train": [60, 79], "inside": [60, 79], "outside": 30 * [70] + [59]}
    recordings = []
    for name, pitches in notes.items():
        played = [PlayedNote(0.1 * i, 0.1 * i + 0.09, p, 80) for i, p in enumerate(pitches)]
        write_midi(raw / f"midi/{name}.mid", played)
        split = "train" if name == "train" else "test"
        for domain in ("lute",) if name == "train" else ("harp", "lute"):
            path = f"{split}/{domain}/{name}.flac"
            performance = "" if split == "train" else "1"
            where = (path, domain, name, split, performance)
            recordings.append(Recording(*where, 0.0, 8.0, RATE, "x", "x", f"midi/{name}.mid"))
    write_manifest(raw, recordings)
    ranges = Ranges(raw, packed, Hear, Cache(None))
    assert ranges.of("lute") == (60.0, 79.0)
    assert ranges.of("harp") == pytest.approx((40.0, 59.0), abs=0.5), "no training MIDI: transcribed"
    items = [item([], True, "inside"), item([], True, "outside"), item([50], False, "inside")]
    # An unpaired clip has no times in its file.
    assert [i.range for i in with_ranges(with_scores(items, raw), ranges)] == ["in", "out", "out"]


def test_only_notes_within_the_recording_count(tmp_path):
    spans = ((0.0, 0.5, 40), (2.0, 3.0, 60), (9.0, 9.5, 90))
    write_midi(tmp_path / "m.mid", [PlayedNote(*span, 80) for span in spans])
    cut = Recording("x.wav", "lute", "x", "train", "", 1.0, 4.0, RATE, "x", "x", "m.mid")
    assert midi_pitches(tmp_path, [cut]).tolist() == [60]


def test_a_domain_without_any_note_gives_no_stratum(packed, tmp_path):
    class Deaf:
        def __call__(self, audio, sample_rate):
            return Transcription(np.zeros((0, 2)), np.zeros(0), np.zeros((1, 88), np.float32))

    (named,) = with_ranges([item([60])], Ranges(tmp_path / "none", packed, Deaf, Cache(None)))
    assert named.range == "any"
