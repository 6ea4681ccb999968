"""A tiny rendered data set, made once."""

import functools
from types import SimpleNamespace

import pytest

from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.datasets.preparation import caching, resampling
from retimbre.datasets.recordings.manifest import write_manifest
from retimbre.datasets.scores import corpus as scores
from retimbre.datasets.sources.collection import make_source
from retimbre.datasets.sources.params import Dataset
from retimbre.section import Machine
from tests.toys.prepared import ONE, audio_params, feature_params

TINY = dict(
    source="soundfont", domains=["piano", "guitar"], train_minutes=0.5, validation_pieces=1, test_pieces=2,
    excerpt_s=2,
    polyphonic_share=0.5, paired_training=False, shared_range=True, soundfont=None, folders={},
    max_unreadable_share=0.05, limit_hours=0, archives=None, keep_archives=True, youtube={},
)  # fmt: skip


@pytest.fixture(scope="session")
def dataset_params():
    """Dataset parameters of the tiny set, with changes."""
    return lambda **changes: Dataset.model_validate(TINY | changes)


@pytest.fixture(scope="session", autouse=True)
def parse_once():
    """Parsing dominates these tests: each score is parsed once per session (by this process)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "parse", functools.cache(scores.parse))
        yield


@pytest.fixture(scope="session")
def tiny_raw(tmp_path_factory, dataset_params, parse_once):
    """``data/raw`` of two instruments: folder and recordings."""
    folder = tmp_path_factory.mktemp("raw")
    source = make_source(dataset_params(), 3, Machine(jobs=1))
    recordings = source.prepare(folder)
    write_manifest(folder, recordings)
    return SimpleNamespace(folder=folder, recordings=recordings, source=source)


@pytest.fixture(scope="session")
def data(tiny_raw, tmp_path_factory):
    """``data/resampled`` and ``data/features`` of the tiny set."""
    folder = tmp_path_factory.mktemp("data")
    counts = resampling.pack(tiny_raw.folder, folder / "resampled", audio_params(), ONE)
    metrics = caching.cache_features(folder / "resampled", folder / "features", feature_params(), 512, ONE)
    audio, features = PackedAudio(folder / "resampled"), PackedFeatures(folder / "features")
    return SimpleNamespace(folder=folder, audio=audio, features=features, counts=counts, metrics=metrics)
