"""The vocoders alone in evaluate: copy synthesis, and likelihoods of those that predict samples."""

import numpy as np
import pytest
import torch

from retimbre.datasets.packed.data import Data
from retimbre.evaluation.bench import likelihood
from retimbre.evaluation.bench.copy_synthesis import copy_synthesis, copy_synthesis_figures, table
from retimbre.evaluation.bench.likelihood import likelihood_figures, network_figures, read_excerpts, untrained
from retimbre.evaluation.bench.processes import side_by_side
from retimbre.vocoders.base import Renderer
from retimbre.vocoders.catalogue import Vocoder
from retimbre.vocoders.kinds import KINDS
from tests.toys.vocoders import train_networks, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def networks(data: Data) -> dict[str, Renderer]:
    return train_networks(data)


@pytest.fixture(scope="module")
def vocoders(networks: dict[str, Renderer]) -> dict[str, Vocoder]:
    return {kind: Vocoder(kind, networks[needs.networks[-1]]) for kind, needs in KINDS.items()}


def test_figures_of_every_kind(data, networks, vocoders):
    """Of what is trained, under its own names."""
    packed = data.audio, data.features
    found = copy_synthesis_figures(list(vocoders.values()), *packed, "validation")
    assert set(found) == {f"{kind}_{name}" for kind in KINDS for name in ("lsd", "mrstft", "jaccard", "rpa")}
    bits = likelihood_figures(list(networks.values()), *packed, "validation")
    names = ("nll_bits", "cond_gap_pitch", "cond_gap_other")
    gaps = {f"{network}_{name}" for network in ("wavenet", "excited") for name in names}
    assert set(bits) == gaps | {"excited_cond_gap_levels"}
    assert 4 < bits["wavenet_nll_bits"] < 9  # two steps: about as many as without a model
    assert copy_synthesis(list(vocoders.values()), *packed, "test") == {}
    some = copy_synthesis([vocoders["istft"], vocoders["source_phase"]], *packed, "validation")
    lines = table(some).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["istft", "source_phase"]
    assert f"{found['istft_lsd']:.3f}" == lines[1].split()[1 + lines[0].split().index("lsd")]


def test_an_untrained_network_hears_its_waveform_alone(data, networks):
    """The gap of a fresh network, which keeps what it was told of the data."""
    renderer = networks["excited"]
    excerpts = read_excerpts(renderer, data.audio, data.features, "validation")[:2]
    fresh = untrained(renderer)
    assert torch.equal(fresh.network.feature_mean_db, renderer.network.feature_mean_db)
    assert not torch.equal(fresh.network.gate_weight, renderer.network.gate_weight)
    figures = network_figures(fresh, excerpts)
    assert abs(figures["cond_gap_levels"]) < 1e-3 < abs(figures["cond_gap_pitch"])


def test_the_command_shows_trained_and_untrained(data, networks, tmp_path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    for name, packed in (("resampled", data.audio), ("features", data.features)):
        (tmp_path / "data" / name).symlink_to(packed.folder)
    for name, renderer in networks.items():
        renderer.save(tmp_path / "data/models/vocoder" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["likelihood"])
    likelihood.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["nll_bits", "cond_gap_other", "cond_gap_pitch", "cond_gap_levels"]
    rows = {line.rsplit(maxsplit=4)[0]: line for line in lines[1:]}
    assert list(rows) == ["wavenet", "wavenet, untrained", "excited", "excited, untrained"]
    assert rows["wavenet"].endswith("NaN") and abs(float(rows["excited, untrained"].split()[-1])) < 0.01


def test_a_semitone_up_leaves_nothing_below(data, networks, monkeypatch):
    """The lowest bins become silent; the highest ones do not come back there."""
    renderer, given = networks["wavenet"], []

    def nll_bits(x, spectrum_db, domain, own_db, heard_db=None):
        given.append(spectrum_db)
        return 8.0

    monkeypatch.setattr(renderer, "nll_bits", nll_bits)
    network_figures(renderer, read_excerpts(renderer, data.audio, data.features, "validation")[:2])
    own, moved, up = given[0], given[2], max(1, renderer.features.cqt_bins_per_octave // 12)
    assert (moved[:up] == renderer.top_db - renderer.features.range_db).all()
    np.testing.assert_array_equal(moved[up:], own[:-up])


def test_figures_do_not_depend_on_the_number_of_processes(data, networks, vocoders):
    some, found = [vocoders["griffin_lim"], vocoders["wavenet"]], []
    packed = data.audio, data.features
    for jobs in (1, 2):
        with side_by_side(jobs) as over:
            copies = copy_synthesis_figures(some, *packed, "validation", over)
            found.append((copies, likelihood_figures(list(networks.values()), *packed, "validation", over)))
    assert found[0] == found[1]
