"""All training-free systems: the interface, edges, determinism, refusals."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter, PackedAudio
from retimbre.errors import RetimbreError
from retimbre.provenance import digest
from retimbre.systems.baselines.base import draw_corpus, looped, window_samples
from retimbre.systems.baselines.catalogue import SYSTEMS, fit_baselines
from retimbre.systems.baselines.params import Baselines
from tests.toys.project import smoke
from tests.toys.tones import CONFIG, RATE, tone

SMOKE = smoke(baselines={"systems": list(SYSTEMS)})["baselines"]
BASELINES = tuple(SYSTEMS)
SMALL = Baselines(**SMOKE)


@dataclasses.dataclass
class Features:
    """What the systems read of PackedFeatures."""

    config: FeatureConfig


def tune(rng: np.random.Generator, notes: int, slope: float) -> np.ndarray:
    return 0.7 * np.concatenate(
        [tone(220 * 2 ** (n / 12), 0.4, slope, 2) for n in rng.integers(0, 13, notes)]
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedAudio:
    """Six tunes of two instruments: one dull, one bright."""
    folder, rng = tmp_path_factory.mktemp("audio") / "resampled", np.random.default_rng(0)
    with AudioWriter(folder, RATE, 0.1, 10) as writer:
        for domain, slope in (("flute", 2.5), ("reed", 0.5)):
            for piece in range(3):
                writer.add(
                    (tune(rng, 8, slope) * 32767).astype(np.int16), domain, "train", f"{domain}{piece}"
                )
    return PackedAudio(folder)


@pytest.fixture(scope="module")
def fitted(packed: PackedAudio) -> dict:
    data = Data()
    data.audio, data.features = packed, Features(CONFIG)
    return {system.name: system for system in fit_baselines(data, SMALL, 1)}


def test_names_agree_with_params(fitted: dict) -> None:
    assert BASELINES == ("cepstral", "concatenative", "nmf", "gram", "texture") == tuple(fitted)
    assert {name for name in BASELINES if fitted[name].slow} == {"gram", "texture"}
    assert all(system.name == name for name, system in SYSTEMS.items())
    with pytest.raises(ValueError, match="names a system twice"):
        Baselines(**SMOKE | {"systems": ["gram", "gram"]})


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("samples", [1, 100, 12_345])
def test_output_is_as_long_and_as_loud_as_the_input_and_moves_away_from_it(
    fitted: dict, name: str, samples: int
) -> None:
    x = tune(np.random.default_rng(5), 4, 2.5)[:samples]
    y = fitted[name].transfer(x, "reed", seed=3)
    assert (
        y.shape == x.shape
        and y.dtype == np.float32
        and np.isfinite(y).all()
        and np.abs(y).max(initial=0) <= 0.99 + 1e-6
    )
    if samples > 1000:
        assert np.isclose(np.sqrt(np.mean(y**2)), np.sqrt(np.mean(x**2)), rtol=1e-3)
        assert np.sqrt(np.mean((y - x) ** 2)) > 0.05 * np.sqrt(np.mean(x**2))


@pytest.mark.parametrize("name", BASELINES)
def test_same_seed_same_samples_also_in_another_process(fitted: dict, name: str) -> None:
    x = tune(np.random.default_rng(6), 3, 2.5)
    sent = pickle.loads(pickle.dumps(fitted[name]))
    assert np.array_equal(fitted[name].transfer(x, "reed", 4), sent.transfer(x, "reed", 4))
    assert digest(sent) == digest(fitted[name])


@pytest.mark.parametrize("name", ["nmf", "gram", "texture"])
def test_another_seed_gives_other_samples(fitted: dict, name: str) -> None:
    x = tune(np.random.default_rng(6), 3, 2.5)
    # Two clips to choose from: some seeds agree.
    first, *others = (fitted[name].transfer(x, "reed", seed) for seed in range(5))
    assert any(not np.allclose(first, other, atol=1e-5) for other in others)


@pytest.mark.parametrize("name", BASELINES)
def test_edges(fitted: dict, name: str) -> None:
    system = fitted[name]
    silence = np.zeros(4000, np.float32)
    assert np.array_equal(system.transfer(silence, "reed"), silence)
    assert len(system.transfer(np.zeros(0, np.float32), "reed")) == 0
    clipped = np.sign(tune(np.random.default_rng(7), 2, 2.5)).astype(np.float32)  # full scale throughout
    y = system.transfer(clipped, "reed")
    assert np.isfinite(y).all() and np.abs(y).max() <= 0.99 + 1e-6
    half = tune(np.random.default_rng(7), 4, 2.5)
    half[len(half) // 2 :] = 0
    assert np.isfinite(system.transfer(half, "reed")).all()
    with pytest.raises(RetimbreError, match="'tuba' is no instrument of this system: choose flute, reed"):
        system.transfer(half, "tuba")
    for broken in (np.zeros((10, 2)), np.array([np.nan, 0.1])):
        with pytest.raises(RetimbreError, match="finite samples of shape"):
            system.transfer(broken, "reed")


def test_a_digest_follows_settings_and_data(packed: PackedAudio, fitted: dict) -> None:
    """Evaluation finds by it what it keeps of a system."""
    assert len({digest(system) for system in fitted.values()}) == len(BASELINES)
    changes = {"cepstral": {"lifter_ms": 3.0}, "gram": {"style": 1.0}, "nmf": {"corpus_s": 2.0}}
    for name, change in changes.items():
        other = Baselines(**SMOKE | {name: SMOKE[name] | change})
        assert digest(SYSTEMS[name].fit(packed, Features(CONFIG), other, 1)) != digest(fitted[name])
    assert digest(SYSTEMS["gram"].fit(packed, Features(CONFIG), SMALL, 1)) == digest(fitted["gram"])


def test_a_corpus_takes_turns_among_recordings(packed: PackedAudio) -> None:
    corpus = draw_corpus(packed, "reed", 4.0, 0, segment_s=1.0)
    assert [len(x) for x in corpus] == [RATE] * 4
    pieces = [packed.read(e) for e in packed.excerpts(domain="reed", split="train")]
    homes = [
        next(
            i
            for i, piece in enumerate(pieces)
            for start in (0, RATE)
            if np.array_equal(piece[start : start + RATE], x)
        )
        for x in corpus
    ]
    assert sorted(homes[:3]) == [0, 1, 2] and homes[3] == homes[0], "every recording before one again"
    assert sum(len(x) for x in draw_corpus(packed, "reed", 1e6, 0)) == sum(len(x) for x in pieces), (
        "all there is"
    )
    clip = looped(corpus, 10 * RATE, np.random.default_rng(0))
    assert len(clip) == 10 * RATE and np.array_equal(clip[:RATE], clip[4 * RATE : 5 * RATE])


def test_too_little_audio_is_said(tmp_path: Path) -> None:
    with AudioWriter(tmp_path / "resampled", RATE, 0.1, 10) as writer:
        writer.add(np.ones(RATE // 2, np.int16), "reed", "train", "a")
    packed = PackedAudio(tmp_path / "resampled")
    for name in BASELINES:
        with pytest.raises(RetimbreError, match="the training split of 'reed' has 0.5 s of audio") as refusal:
            SYSTEMS[name].fit(packed, Features(CONFIG), SMALL, 1)
        assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


def test_published_windows_keep_their_duration() -> None:
    assert window_samples(22050, 2048, 22050) == 2048 and window_samples(44100, 2048, 22050) == 4096
    assert window_samples(16000, 2048, 22050) == 1536 and window_samples(4000, 2048, 22050) == 256 * 1
