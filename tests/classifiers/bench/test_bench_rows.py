"""Rows behind the contract: they learn by heart, nothing from shuffled labels, and repeat themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from retimbre.classifiers.bench import catalogue, pipeline
from retimbre.classifiers.bench.base import NetworkClassifier
from retimbre.classifiers.bench.descriptors import cross_validated, descriptors
from retimbre.classifiers.bench.windows import RATE, SAMPLES, Windows, a_weighting_db, cut, scalogram
from retimbre.section import Machine
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from tests.toys import ROOT

TIME = np.arange(SAMPLES) / RATE


def tone(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A note in one of two timbres: a few partials that last, or many that decay."""
    f = 220 * 2 ** (rng.integers(24) / 12)
    partials, fall = ((3, 0.0), (12, 2.0))[kind]
    parts = [np.sin(2 * np.pi * f * n * TIME + rng.uniform(0, 6)) / n**0.7 for n in range(1, partials + 1)]
    x = sum(parts) * np.exp(-fall * TIME) + rng.normal(0, 0.01, SAMPLES)
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


@pytest.fixture(scope="module")
def notes() -> tuple[Windows, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    return Windows(np.stack([tone(kind, rng) for kind in labels])), labels


@pytest.fixture(scope="module")
def others() -> tuple[Windows, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.arange(48) % 2
    return Windows(np.stack([tone(kind, rng) for kind in labels])), labels


# Steps in which each learns 64 windows by heart; of the costly ones the test below has two windows.
STEPS = {"convnet_1d": 40, "convnet_spiral": 30, "raw_256_256": 50, "raw_foote": 50, "mel_1024_1024": 25,
         "timbral_4x2": 30}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_networks_learn_64_windows_by_heart(name, notes):
    windows, labels = notes
    classifier = catalogue.make(name, 2, steps=STEPS[name])
    classifier.recipe = replace(classifier.recipe, batch_size=16, learning_rate=3e-3)
    p = classifier.fit(windows, labels).predict_proba(windows)
    assert (p.argmax(1) == labels).mean() >= 0.98
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in catalogue.ROWS.items() if row.recipe])
def test_every_network_fits_a_batch(name, notes):
    """Three steps on two windows lower the loss, whatever the network."""
    windows, labels = notes
    recipe = catalogue.row(name).recipe
    torch.manual_seed(0)
    network = recipe.build(2).eval()  # without dropout
    x, y = torch.from_numpy(recipe.heard(windows.audio[:2])), torch.from_numpy(labels[:2])
    if hasattr(network, "observe"):
        network.observe(x)
    optimiser = torch.optim.Adam(network.parameters(), 2e-4)
    losses = []
    for _ in range(3):
        loss = recipe.objective.loss(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["features_logistic", "features_svc", "features_knn", "features_forest",
                                  "scattering_joint"])  # fmt: skip
def test_pipelines_tell_other_notes_apart(name, notes, others):
    p = catalogue.make(name, 3).fit(*notes).predict_proba(others[0])
    assert p.shape == (48, 3) and not p[:, 2].any()  # nobody has seen the third class
    assert (p.argmax(1) == others[1]).mean() >= 0.9


@pytest.mark.parametrize("name", ["features_logistic", "convnet_1d"])
def test_shuffled_labels_stay_at_chance(name, notes, others):
    """Labels that say nothing teach nothing: half of either kind have each."""
    windows, labels = notes
    shuffled = labels.copy()
    for kind in (0, 1):
        shuffled[labels == kind] = np.random.default_rng(kind).permutation(np.arange(32) % 2)
    steps = None if name.startswith("features") else 40
    p = catalogue.make(name, 2, steps=steps).fit(windows, shuffled).predict_proba(others[0])
    assert 14 <= (p.argmax(1) == others[1]).sum() <= 34  # of 48; 99.5 % of throws of a coin


def test_the_pipelines_row_is_trained_as_the_pipeline_does():
    p = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    names = ("channels", "steps", "learning_rate", "gain_jitter_db", "noise_db")
    own = (pipeline.CHANNELS, pipeline.STEPS, pipeline.RATE, pipeline.GAIN_DB, pipeline.NOISE_DB)
    assert own == tuple(p["classifier"][name] for name in names)
    assert p["features"]["range_db"] == pipeline.RANGE_DB


def test_tags_are_several_at_a_time(notes):
    windows, labels = notes
    tags = np.stack([labels, 1 - labels, np.ones(64, int)], 1)
    for name, steps in (("mel_1024_1024", 40), ("features_logistic", None)):
        classifier = catalogue.make(name, 3, steps=steps)
        tags[0, 2] = 0  # scikit-learn wants both
        p = classifier.fit(windows, tags).predict_proba(windows)
        assert p.shape == (64, 3) and (p[:, 2] > 0.5).mean() > 0.9
        assert p.sum(1).mean() > 1.5


def test_a_training_repeats_itself_and_goes_on_where_it_was(notes, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    windows, labels = notes

    def fitted(steps: int, run: Run | None = None) -> NetworkClassifier:
        return catalogue.make("convnet_1d", 2, 5, steps, run).fit(windows, labels)

    whole = fitted(8).predict_proba(windows)
    np.testing.assert_array_equal(fitted(8).predict_proba(windows), whole)
    machine = Machine(log_every=2, checkpoint_every=2)
    with Scratch("bench", "key") as scratch:
        run = Run(5, make_fabric("cpu"), machine, scratch)
        half = catalogue.make("convnet_1d", 2, 5, 8, run)
        step, calls = half.recipe.objective.loss, []

        def interrupted(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            if len(calls) > 5:
                raise KeyboardInterrupt
            return step(outputs, labels)

        half.recipe = replace(half.recipe, objective=replace(half.recipe.objective, loss=interrupted))
        with pytest.raises(KeyboardInterrupt):
            half.fit(windows, labels)
        again = fitted(8, run).predict_proba(windows)
        scratch.finish()
    np.testing.assert_array_equal(again, whole)


def test_folds_keep_recordings_whole(notes):
    """Every recording has labels of its own that say nothing: only a leak could tell them."""
    windows, _ = notes
    recordings = np.repeat(np.arange(16), 4)
    repeated = Windows(np.repeat(windows.audio[::4], 4, axis=0))
    labels = np.repeat(np.random.default_rng(0).permutation(np.arange(16) % 2), 4)
    knn = catalogue.make("features_knn", 2)
    apart = cross_validated(knn, repeated, labels, recordings, 4)
    # with recordings divided between folds most windows are found again
    assert apart < 0.7 < cross_validated(knn, repeated, labels, np.arange(64), 8)


def test_descriptors_of_a_tone_are_known():
    x = 0.1 * np.sin(2 * np.pi * 1000 * TIME).astype(np.float32)
    found = descriptors(x[None])[0]
    assert found.shape == (70,)
    bandwidth, centroid, rolloff, crossings = found[[60, 62, 66, 68]]
    assert centroid == pytest.approx(1000, rel=0.02) and rolloff == pytest.approx(1000, rel=0.02)
    assert bandwidth < 200 and crossings == pytest.approx(2000 / RATE, rel=0.03)


def test_windows_are_cut_heard_once_and_weighted(notes):
    windows, _ = notes
    assert cut(np.zeros(SAMPLES * 2, np.float32)).shape == (3, SAMPLES)
    short = cut(np.ones(SAMPLES - 999, np.float32))
    assert short.shape == (1, SAMPLES) and short.sum() == SAMPLES - 999
    assert cut(np.zeros(SAMPLES // 2, np.float32)).shape == (0, SAMPLES)
    x = windows.heard(scalogram)
    assert windows.heard(scalogram) is x and x.shape[1:] == (84, 128)
    np.testing.assert_array_equal(windows[4:6].heard(scalogram), x[4:6])
    np.testing.assert_allclose(a_weighting_db(np.array([1000.0, 100.0])), [0.0, -19.1], atol=0.1)
