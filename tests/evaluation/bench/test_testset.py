import numpy as np
import pytest

from retimbre.datasets.packed.format import AudioWriter, FeatureWriter, PackedAudio, PackedFeatures
from retimbre.evaluation.bench.testset import alternating, load_items
from tests.toys.models import FEATURES as CONFIG


@pytest.fixture
def packs(tmp_path):
    """A function that packs (domain, piece, performance, seconds); feature frames hold its number."""

    def pack(*recordings):
        rng = np.random.default_rng(0)
        with AudioWriter(tmp_path / "audio", 16000, 0.1, 100) as writer:
            for domain, piece, performance, seconds in recordings:
                noise = rng.integers(-3000, 3000, int(seconds * 16000)).astype(np.int16)
                writer.add(noise, domain, "test", piece, performance)
        audio = PackedAudio(tmp_path / "audio")
        with FeatureWriter(tmp_path / "features", CONFIG.to_dict(), 100) as writer:
            for i, excerpt in enumerate(audio.index):
                writer.add(excerpt, {"cqt": np.full((CONFIG.frames(excerpt.length), 84), -i, np.float16)})
            writer.set_statistics({"cqt": {"top_db": 0.0, "mean_db": {}, "std_db": {}}})
        return audio, PackedFeatures(tmp_path / "features")

    return pack


def test_paired_pieces_in_both_directions_with_oracle_and_unrelated(packs):
    rows = [(d, f"bach-{n}", p, 1.0) for d in ("piano", "guitar") for n in (1, 2) for p in ("1", "2")]
    items = load_items(*packs(*rows), "cqt", ["piano", "guitar"])
    assert [item.name for item in items] == [
        f"{d}.bach-{n}" for d in ("piano_to_guitar", "guitar_to_piano") for n in (1, 2)
    ]
    first = items[0]
    assert first.source.level_db.shape == (84, 63) and first.source.audio.shape == (16000,)
    clips = (first.source, first.target, first.oracle, first.unrelated)
    numbers = [int(-clip.level_db[0, 0]) for clip in clips]
    assert numbers == [0, 4, 5, 6]  # piano 1/1, guitar 1/1, guitar 1/2, guitar 2/1
    assert items[2].source_domain == "guitar" and int(-items[2].target.level_db[0, 0]) == 0


def test_unpaired_recordings_have_no_target_and_are_cut(packs):
    rows = [(d, f"{d}-{n}", "", 10.0) for d in ("harp", "lute") for n in range(14)]
    items = load_items(*packs(*rows), "cqt", ["harp", "lute"])
    assert len(items) == 24
    assert all(item.target is None and item.oracle is None and item.stratum == "any" for item in items)
    assert items[0].source.audio.shape == (8 * 16000,)
    assert items[0].source.level_db.shape[1] == 8 * 16000 // 256 + 1
    assert items[0].unrelated.level_db[0, 0] <= -14  # the other domain's


def test_strata_take_turns():
    pieces = ["bach-a", "bach-b", "bach-c", "ryansMammoth-x", "ryansMammoth-y"]
    assert alternating(pieces) == ["bach-a", "ryansMammoth-x", "bach-b", "ryansMammoth-y", "bach-c"]
