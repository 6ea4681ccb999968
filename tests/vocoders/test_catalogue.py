"""The vocoder's registry of kinds, its parts on disk, and every kind trained for a moment on a few tunes."""

from typing import get_args

import numpy as np
import pytest
import torch
import yaml

from retimbre import params
from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.datasets.packed.format import AudioWriter, PackedAudio, PackedFeatures
from retimbre.datasets.preparation.caching import cache_features
from retimbre.errors import RetimbreError
from retimbre.evaluation.bench import likelihood
from retimbre.evaluation.bench.copy_synthesis import copy_synthesis, copy_synthesis_figures, table
from retimbre.evaluation.bench.likelihood import likelihood_figures, part_figures, read_excerpts, untrained
from retimbre.evaluation.bench.processes import side_by_side
from retimbre.metrics.spectral import paired_lsd
from retimbre.vocoders.catalogue import FIRST_KINDS, KINDS, PARTS, Vocoder, fit, parts_of
from retimbre.vocoders.excited.vocoder import segment_frames
from tests.toys import ROOT

RATE, SECONDS, DOMAINS = 16000, 3.0, ["reed", "bell"]
PROFILE = yaml.safe_load((ROOT / "profiles/smoke.yaml").read_text(encoding="utf-8"))
ALL = list(KINDS)
SHORT = {"inverter_steps": 3, "istft_steps": 2, "wavenet_steps": 2, "wavenet_layers": 3, "wavenet_layers_per_stack": 3}


def settings(**vocoder):
    """The smoke profile's vocoder section with changes."""
    values = PROFILE | {"vocoder": PROFILE["vocoder"] | SHORT | {"kinds": ALL, "kind": "griffin_lim"} | vocoder}
    return params.parse(values | {"model": PROFILE["model"] | {"representation": values["vocoder"]["representation"]}}).vocoder


def tune(domain, number):
    """(N,) float32: decaying notes with odd harmonics (reed) or few (bell)."""
    rng = np.random.default_rng(number)
    t, x = np.arange(round(SECONDS * RATE)) / RATE, 0
    for i, pitch in enumerate(rng.integers(50, 75, 6)):
        f, on = 440 * 2 ** ((pitch - 69) / 12), t >= i * 0.45
        x = x + on * np.exp(-4 * np.maximum(t - i * 0.45, 0)) * sum(
            np.sin(2 * np.pi * f * h * t) / h for h in ((1, 3, 5, 7) if domain == "reed" else (1, 2)) if f * h < 7000
        )
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A training and a paired validation split: (audio, features)."""
    folder = tmp_path_factory.mktemp("data")
    with AudioWriter(folder / "resampled", RATE, 0.1, 100) as writer:
        for split, performance, pieces in (("train", "", range(3)), ("validation", "1", range(3, 5))):
            for domain in DOMAINS:
                for piece in pieces:
                    name = f"{'bach' if piece % 2 else 'ryansMammoth'}-{piece}"
                    writer.add(np.rint(32768 * tune(domain, piece)).clip(-32768, 32767).astype(np.int16), domain, split, name, performance)
    p = params.parse(PROFILE).features.model_copy(update={"jobs": 1, "joblib_backend": "threading"})
    cache_features(folder / "resampled", folder / "features", p, 100)
    return PackedAudio(folder / "resampled"), PackedFeatures(folder / "features")


@pytest.fixture(scope="module")
def model(data):
    return fit(*data, settings(), 1, None, None)[0]


def levels_of(model, audio):
    with torch.no_grad():
        return decibels(FeatureExtractor(model.features)(torch.from_numpy(audio)[None], model.representation))[0].numpy()


def test_params_and_the_registry_name_the_same_kinds():
    assert set(get_args(params.VocoderKind)) == set(KINDS)
    assert {part for kind in KINDS.values() for part in kind.parts} == set(PARTS)
    order = list(PARTS)
    for kind in KINDS.values():
        assert [order.index(part) for part in kind.parts] == sorted(order.index(part) for part in kind.parts), "trained in this order"


def test_every_kind_makes_audio_of_the_asked_length(model):
    source = tune("reed", 9)[:20000]
    level_db = levels_of(model, source)
    for kind in ALL:
        y = model.synthesise(kind, level_db, len(source), "bell", source, seed=1)
        assert y.shape == source.shape and y.dtype == np.float32 and np.isfinite(y).all(), kind
        assert np.array_equal(y, model.synthesise(kind, level_db, len(source), "bell", source, seed=1)), kind
        if not KINDS[kind].needs_source:
            assert np.array_equal(y, model.synthesise(kind, level_db, len(source), "bell", None, seed=1)), kind
        if not KINDS[kind].needs_domain:
            assert np.array_equal(y, model.synthesise(kind, level_db, len(source), "reed", source, seed=1)), kind


@pytest.mark.parametrize("kinds", [["griffin_lim"], ["source_phase", "istft"], ["wavenet"], ALL])
def test_a_folder_holds_what_its_kinds_need_and_comes_back(data, model, kinds, tmp_path):
    made, curves = fit(*data, settings(kinds=kinds, kind=kinds[0]), 1, None, None)
    made.save(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.safetensors")} == set(parts_of(kinds)) == set(made.parts) == set(curves)
    again = Vocoder.load(tmp_path)
    assert (again.kinds, again.kind) == (kinds, kinds[0])
    source = tune("bell", 8)[:12000]
    level_db = levels_of(made, source)
    for kind in kinds:  # the same sounds whatever else was trained, before and after the disk
        sounds = [m.synthesise(kind, level_db, len(source), "reed", source, 3) for m in (made, again, model)]
        assert np.array_equal(sounds[0], sounds[1]) and np.array_equal(sounds[0], sounds[2]), kind
    for kind in set(ALL) - set(kinds):
        with pytest.raises(RetimbreError, match=rf"^the vocoder {kind} is not trained .*: add it to vocoder.kinds in params.yaml and run "):
            again.synthesise(kind, level_db, len(source), "reed", source)


def test_refusals(model):
    level_db = levels_of(model, tune("bell", 8)[:8000])
    with pytest.raises(RetimbreError, match="^'organ' is not a kind of vocoder: choose source_phase, griffin_lim, istft"):
        model.synthesise("organ", level_db, 8000, "reed")
    with pytest.raises(RetimbreError, match="^the vocoder source_phase needs the source recording: choose griffin_lim or istft"):
        model.synthesise("source_phase", level_db, 8000, "reed")
    with pytest.raises(RetimbreError, match="the vocoder wavenet was not trained on organ but on .*: run `dvc repro vocoder`"):
        model.synthesise("wavenet", level_db, 8000, "organ")
    alone = Vocoder({"inverter": model.parts["inverter"].network}, model.config | {"kinds": ["source_phase"], "kind": "source_phase"})
    with pytest.raises(RetimbreError, match="^the vocoder source_phase needs the source recording: without one, add griffin_lim to "):
        alone.synthesise("source_phase", level_db, 8000, "reed")


def test_folders_of_before_there_was_a_choice_are_read(model, tmp_path):
    made = {name: value for name, value in model.config.items() if name not in ("kind", "kinds")}
    Vocoder({name: part.network for name, part in model.parts.items()}, made).save(tmp_path)
    again = Vocoder.load(tmp_path)
    assert again.kinds == FIRST_KINDS and again.kind == "source_phase"


def test_what_an_output_depends_on(model):
    """A part's state holds its own weights and those of the parts below, and nothing of the others."""
    held = {kind: [id(x) for x in model.state(kind)] for kind in ALL}
    for kind in ALL:
        needed = [id(model.parts[name].network) for name in KINDS[kind].parts]
        assert all(network in held[kind] for network in needed)
        assert not any(id(part.network) in held[kind] for name, part in model.parts.items() if name not in KINDS[kind].parts)
        assert len(model.modules(kind)) == len(KINDS[kind].parts)
    assert model.main_kinds == ["griffin_lim", "source_phase"]


def test_the_default_need_not_be_trained_first():
    assert parts_of(["wavenet", "istft"]) == ["inverter", "istft", "wavenet"]


@pytest.mark.parametrize(("rate", "n_fft", "hop"), [(25000, 511, 128), (16000, 1024, 256)])
def test_stft_levels_need_no_network(rate, n_fft, hop, tmp_path):
    """Gupta and Naik's features, 256 bins at 25 kHz: the levels of a recording give that recording back, on its phases nearly exactly."""
    config = FeatureConfig(rate, hop, "retimbre", 32.7031956626, 84, 12, n_fft, 80, 60.0)
    common = {"domains": DOMAINS, "features": config.to_dict(), "representation": "stft", "top_db": 20.0, "rms": 0.1}
    kinds = {"kinds": ["source_phase", "griffin_lim"], "kind": "source_phase", "griffin_lim_iterations": 16}
    Vocoder({"inverter": None}, common | kinds).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    model = Vocoder.load(tmp_path)
    x = tune("reed", 7)[: 5 * rate // 4]
    level_db = levels_of(model, x)
    assert level_db.shape == (n_fft // 2 + 1, len(x) // hop + 1)
    y = model.synthesise("source_phase", level_db, len(x), "reed", x)
    assert np.abs(y - x).max() < 0.02 * np.abs(x).max()
    silent = np.full_like(level_db, model.top_db - 60)  # the range's floor is silence, not a hiss
    assert not model.synthesise("source_phase", silent, len(x), "reed", x).any()
    assert paired_lsd(model.synthesise("griffin_lim", level_db, len(x), "reed"), x, rate) < 4


@pytest.mark.parametrize("representation", ["mel", "stft"])
def test_other_representations_are_trained_too(data, representation):
    made, curves = fit(*data, settings(representation=representation), 1, None, None)
    assert (made.parts["inverter"].network is None) == (representation == "stft") == ("inverter" not in curves)
    x = tune("bell", 6)[:12000]
    level_db = levels_of(made, x)
    assert len(level_db) == made.features.bins(representation)
    for kind in ALL:
        assert np.isfinite(made.synthesise(kind, level_db, len(x), "reed", x)).all(), kind


def test_figures_of_every_kind(data, model):
    """Copy synthesis and likelihoods: of what is trained, under its own names."""
    found = copy_synthesis_figures(model, *data, "validation")
    for kind in ALL:
        for name in ("lsd", "mrstft", "jaccard", "rpa", "x_realtime"):
            assert f"{kind}_{name}" in found, (kind, name)
    assert len(found) == 5 * len(ALL)
    bits = likelihood_figures(model, *data, "validation")
    gaps = {f"{part}_{name}" for part in ("wavenet", "excited") for name in ("nll_bits", "cond_gap_pitch", "cond_gap_other")}
    assert set(bits) == gaps | {"excited_cond_gap_levels"}
    assert 4 < bits["wavenet_nll_bits"] < 9  # two steps: about what codes of this loudness have without a model
    assert copy_synthesis(model, *data, "test") == {}
    some = copy_synthesis(model, *data, "validation", ["istft", "source_phase"])
    lines = table(some).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["istft", "source_phase"]
    assert f"{found['istft_lsd']:.3f}" == lines[1].split()[1 + lines[0].split().index("lsd")]


def test_an_untrained_network_hears_its_waveform_alone(data, model):
    """What a gap says about training is seen beside it. What the network was told of the data stays."""
    part, excerpts = model.parts["excited"], read_excerpts(model, *data, "validation")[:2]
    fresh = untrained(part)
    assert torch.equal(fresh.network.feature_mean_db, part.network.feature_mean_db)
    assert not torch.equal(fresh.network.gate_weight, part.network.gate_weight)
    figures = part_figures(fresh, excerpts)
    assert abs(figures["cond_gap_levels"]) < 1e-3 < abs(figures["cond_gap_pitch"])


def test_the_command_shows_trained_and_untrained(data, model, tmp_path, monkeypatch, capsys):
    (tmp_path / "data/models").mkdir(parents=True)
    for name, packed in zip(("resampled", "features"), data, strict=True):
        (tmp_path / "data" / name).symlink_to(packed.folder)
    model.save(tmp_path / "data/models/vocoder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["likelihood"])
    likelihood.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["nll_bits", "cond_gap_other", "cond_gap_pitch", "cond_gap_levels"]
    rows = {line.rsplit(maxsplit=4)[0]: line for line in lines[1:]}
    assert list(rows) == ["wavenet", "wavenet, untrained", "excited", "excited, untrained"]
    assert rows["wavenet"].endswith("NaN") and abs(float(rows["excited, untrained"].split()[-1])) < 0.01


def test_a_semitone_up_leaves_nothing_below(data, model):
    """The lowest bins become silent; the highest ones do not come back there."""
    part, given = model.parts["wavenet"], []

    def nll_bits(x, level_db, domain, own_db, heard_db=None):
        given.append(level_db)
        return 8.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "nll_bits", nll_bits)
        excerpts = read_excerpts(model, *data, "validation")[:2]
        part_figures(part, excerpts)
    own, moved, up = given[0], given[2], max(1, model.features.cqt_bins_per_octave // 12)
    assert (moved[:up] == model.top_db - model.features.range_db).all()
    np.testing.assert_array_equal(moved[up:], own[:-up])


def test_segments_are_no_longer_than_recordings(data):
    """``excited_segment_frames`` is a wish: recordings of three seconds are trained on too."""
    frames = {e.length for e in data[1].excerpts(split="train")}
    assert len(frames) == 1
    p = settings(kinds=["griffin_lim", "wavenet_excited"], excited_segment_frames=250, wavenet_steps=2, excited_steps=2)
    assert segment_frames(data[1], p) == frames.pop() - 1 < 250
    assert segment_frames(data[1], settings(excited_segment_frames=16)) == 16
    made, _ = fit(*data, p, 1, None, None)
    assert made.parts["excited"].network is not None
    with pytest.raises(RetimbreError, match="no train reed excerpt is .* lower vocoder.wavenet_crop_frames in params.yaml"):
        fit(*data, settings(kinds=["griffin_lim", "wavenet_excited"], wavenet_crop_frames=300, excited_segment_frames=400), 1, None, None)


def test_figures_do_not_depend_on_the_number_of_processes(data, model):
    found = []
    for jobs in (1, 2):
        with side_by_side(jobs) as over:
            copies = copy_synthesis(model, *data, "validation", ["griffin_lim", "wavenet"], over)
            bits = likelihood_figures(model, *data, "validation", over)
        found.append(({kind: {k: v for k, v in values.items() if k != "x_realtime"} for kind, values in copies.items()}, bits))
    assert found[0] == found[1]
