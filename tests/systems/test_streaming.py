"""Whole files through real (small, untrained) networks: what the path around them must keep."""

import json

import numpy as np
import pytest
import soundfile
import torch

from retimbre import transfer
from retimbre.audio.features import FeatureConfig
from retimbre.audio.loudness import LoudnessMeter
from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.systems.cyclegan.system import CycleGan
from retimbre.systems.streaming import Chunking, TimbreTransfer
from retimbre.vocoders.catalogue import Vocoder
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.istft.network import IstftConfig, IstftNet

RATE = 16000
KINDS = ["source_phase", "griffin_lim", "istft", "wavenet"]
FEATURES = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)


def train_nothing(folder):
    """Models as ``dvc repro`` writes them, with weights as they start."""
    torch.manual_seed(0)
    shape = GeneratorConfig(84, channels=16, blocks=2)
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    for generator in generators.values():
        torch.nn.init.normal_(generator.body.out.weight, 0, 0.05)
    common = {"domains": ["piano", "guitar"], "features": FEATURES.to_dict(), "representation": "cqt", "top_db": 7.0}
    CycleGan(generators, {**common, "generator": shape.to_dict()}).save(folder / "cyclegan")
    inverter = SpectralInverter(InverterConfig(84, 1024, 16, 1))
    wavenet = WaveNet(
        WaveNetConfig(feature_bins=84, hop_length=256, n_domains=2, layers=3, layers_per_stack=3, residual_channels=8, skip_channels=8)
    )
    more = {"rms": 0.1, "griffin_lim_iterations": 2, "wavenet_preemphasis": 0.85, "wavenet_gain": 1.6, "wavenet_temperature": 0.7}
    istft = IstftNet(IstftConfig(84, 256, 1024, 16, 1))
    istft.start_at(inverter)
    networks = {"inverter": inverter, "istft": istft, "wavenet": wavenet}
    sizes = {name: network.config.to_dict() for name, network in networks.items()} | {"kinds": KINDS, "kind": "source_phase"}
    Vocoder(networks, {**common, **more, **sizes}).save(folder / "vocoder")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return train_nothing(tmp_path_factory.mktemp("models"))


def melody(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    x = np.zeros(len(t))
    for onset in np.arange(0, seconds, 0.25):
        f = 220 * 2 ** (rng.integers(0, 24) / 12)
        x += np.where(t >= onset, np.exp(-6 * (t - onset)), 0) * sum(
            np.sin(2 * np.pi * f * h * t) / h for h in (1, 2, 3) if f * h < rate / 2
        )
    return (0.2 * x / np.abs(x).max()).astype(np.float32)


def loudness(x: np.ndarray, rate: int) -> float:
    meter = LoudnessMeter(rate)
    meter.update(x)
    return meter.lufs()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 1.0), (44100, 0.77), (8000, 0.1)])
def test_same_length_and_loudness_by_every_vocoder(models, kind, rate, seconds):
    x = melody(seconds, rate)
    y = transfer(x, rate, "guitar", kind, models)
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all()
    assert np.abs(y).max() <= 1
    if seconds >= 0.5 and np.abs(y).max() < 0.95:  # the meter needs a gating block, and peaks may limit the level
        assert abs(loudness(y, rate) - loudness(x, rate)) < 1.0


def test_chunks_of_any_size_give_the_same_samples_on_the_source_phase(models):
    x = melody(12.3)
    whole = TimbreTransfer.load(models, Chunking(body_s=100))(x, RATE, "guitar")
    for body in (3.0, 4.5):
        assert np.abs(TimbreTransfer.load(models, Chunking(body_s=body))(x, RATE, "guitar") - whole).max() < 1e-5


@pytest.mark.parametrize("kind", ["griffin_lim", "istft"])
def test_chunks_without_the_sources_phase_have_no_seam(models, kind):
    """At the seams the change from sample to sample is no larger than elsewhere, and no energy is lost."""
    x = melody(10.0)
    y = TimbreTransfer.load(models, Chunking(body_s=4.0))(x, RATE, "guitar", kind)
    whole = TimbreTransfer.load(models, Chunking(body_s=100))(x, RATE, "guitar", kind)
    places = [slice(round((seam - 0.1) * RATE), round((seam + 0.15) * RATE)) for seam in (4.0, 8.0)]
    steps = np.abs(np.diff(y))
    elsewhere = np.ones(len(steps), bool)
    for place in places:
        elsewhere[place] = False
    for place in places:
        assert steps[place].max() <= 1.25 * steps[elsewhere].max()
        assert abs(10 * np.log10(np.mean(y[place] ** 2) / np.mean(whole[place] ** 2))) < 1.5


def test_channels_are_mixed_down(models):
    x = melody(1.0)
    assert np.array_equal(transfer(np.stack([x, x], 1), RATE, "piano", models=models), transfer(x, RATE, "piano", models=models))


def test_level_of_the_input_does_not_change_what_the_networks_see(models):
    x = melody(1.0)
    # Powers of two: other factors round differently, and untrained networks put noise on the phases of that rounding.
    loud, soft = (transfer(g * x, RATE, "guitar", models=models) / g for g in (0.5, 0.03125))
    assert np.abs(loud - soft).max() < 1e-4


@pytest.mark.parametrize(
    ("suffix", "subtype", "channels"), [("wav", "PCM_24", 2), ("flac", "PCM_16", 1), ("ogg", "VORBIS", 2), ("mp3", "MPEG_LAYER_III", 1)]
)
def test_files_of_any_format(models, tmp_path, suffix, subtype, channels, capsys):
    x = melody(2.0, 44100)
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, np.stack([x] * channels, 1), 44100, subtype)
    main(["transfer", str(path), "--to", "guitar", "-o", str(tmp_path / "out.wav"), "--models", str(models)])
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.frames) == (44100, 1, soundfile.info(path).frames)
    said = capsys.readouterr().out
    assert "out.wav" in said and ("mixed down" in said) == (channels > 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.wav", path.name]


def test_default_output_name_and_existing_file_is_replaced_only_by_a_finished_one(models, tmp_path, monkeypatch):
    path = tmp_path / "song.wav"
    soundfile.write(path, melody(1.0), RATE)
    main(["transfer", str(path), "--to", "guitar", "--models", str(models)])
    out = tmp_path / "song-guitar.wav"
    first = out.read_bytes()
    monkeypatch.setattr(TimbreTransfer, "convert", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("power cut")))
    with pytest.raises(RuntimeError):
        main(["transfer", str(path), "--to", "guitar", "--models", str(models)])
    assert out.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["song-guitar.wav", "song.wav"]


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["transfer", *arguments])
    assert stop.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and said.endswith(".")
    return said


def test_refusals_are_one_sentence(models, tmp_path, capsys):
    song, silent, short, text, empty = (tmp_path / n for n in ("song.wav", "silent.wav", "short.wav", "text.wav", "empty.wav"))
    soundfile.write(song, melody(1.0), RATE)
    soundfile.write(silent, np.zeros(RATE), RATE)
    soundfile.write(short, melody(0.05), RATE)
    text.write_text("not audio")
    soundfile.write(empty, np.zeros(0), RATE)
    known = ["--models", str(models)]
    assert "piano or guitar" in refused(capsys, str(song), "--to", "tuba", *known)
    assert "silent" in refused(capsys, str(silent), "--to", "guitar", *known)
    assert "shorter" in refused(capsys, str(short), "--to", "guitar", *known)
    assert "text.wav" in refused(capsys, str(text), "--to", "guitar", *known)
    assert "empty.wav" in refused(capsys, str(empty), "--to", "guitar", *known)
    assert "absent.wav" in refused(capsys, str(tmp_path / "absent.wav"), "--to", "guitar", *known)
    assert "dvc repro" in refused(capsys, str(song), "--to", "guitar", "--models", str(tmp_path / "none"))
    assert ".wav" in refused(capsys, str(song), "--to", "guitar", "-o", str(tmp_path / "x.mp3"), *known)
    assert "itself" in refused(capsys, str(song), "--to", "guitar", "-o", str(song), *known)
    assert "folder" in refused(capsys, str(song), "--to", "guitar", "-o", str(tmp_path / "no" / "x.wav"), *known)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("kind", ["source_phase", "griffin_lim"])
def test_stft_levels_at_25_khz_go_all_the_way(tmp_path, kind):
    """Gupta and Naik's features (511-point windows, 256 bins): no inverter is trained; a generator that changes nothing gives the input
    back on its own phases.
    """
    features = FeatureConfig(25000, 128, "retimbre", 32.7031956626, 84, 12, 511, 80, 60.0)
    shape = GeneratorConfig(256, channels=8, blocks=1)
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    common = {"domains": ["piano", "guitar"], "features": features.to_dict(), "representation": "stft", "top_db": 30.0}
    for generator in generators.values():  # nothing is added to the levels
        torch.nn.init.zeros_(generator.body.out.weight)
        torch.nn.init.zeros_(generator.body.out.bias)
    CycleGan(generators, {**common, "generator": shape.to_dict()}).save(tmp_path / "cyclegan")
    kinds = {"rms": 0.1, "kinds": ["source_phase", "griffin_lim"], "kind": "source_phase", "griffin_lim_iterations": 8}
    Vocoder({"inverter": None}, {**common, **kinds}).save(tmp_path / "vocoder")
    x = melody(1.5, 44100)
    y = TimbreTransfer.load(tmp_path, Chunking(body_s=0.7))(x, 44100, "guitar", kind)
    assert y.shape == x.shape and abs(loudness(y, 44100) - loudness(x, 44100)) < 0.5
    alike = float(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)))
    assert alike > 0.99 if kind == "source_phase" else np.isfinite(y).all()


def test_the_vocoder_is_picked_and_must_be_trained(models, tmp_path, capsys):
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, melody(1.0), RATE)
    made = {}
    for kind in (None, "source_phase", "istft"):
        main(["transfer", str(song), "--to", "guitar", "-o", str(out), "--models", str(models), *(["--vocoder", kind] if kind else [])])
        made[kind] = out.read_bytes()
    assert made[None] == made["source_phase"] != made["istft"], "the default is the one of the training"
    train_nothing(tmp_path / "models")
    path = tmp_path / "models" / "vocoder" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"kinds": ["griffin_lim", "istft"], "kind": "istft"}))
    (path.parent / "wavenet.safetensors").unlink()
    main(["transfer", str(song), "--to", "guitar", "-o", str(out), "--models", str(path.parents[1])])
    assert out.read_bytes() == made["istft"], "what is not trained is not missed, and another default is one"
    capsys.readouterr()
    out.unlink()
    said = refused(capsys, str(song), "--to", "guitar", "-o", str(out), "--models", str(path.parents[1]), "--vocoder", "wavenet")
    assert "the vocoder wavenet is not trained (there are griffin_lim, istft)" in said and not out.exists()


def test_models_that_do_not_belong_together_are_refused(models, tmp_path):
    train_nothing(tmp_path)
    path = tmp_path / "vocoder" / "config.json"
    config = json.loads(path.read_text())
    config["features"]["range_db"] = 70.0
    path.write_text(json.dumps(config))
    with pytest.raises(RetimbreError, match="different features"):
        TimbreTransfer.load(tmp_path)


def test_audio_that_is_not_finite_is_refused(models):
    with pytest.raises(RetimbreError, match="finite"):
        transfer(np.array([0.0, np.nan] * 9000), RATE, "guitar", models=models)


def test_quiet_recordings_are_not_lost_below_the_loudness_meters_gate(models):
    x = melody(1.0)
    quiet = x * np.float32(2**-9)  # below -70 LUFS, above the silence limit
    y = transfer(quiet, RATE, "guitar", models=models)
    ratio_db = 10 * np.log10(np.mean(y**2) / np.mean(transfer(x * np.float32(0.25), RATE, "guitar", models=models) ** 2))
    assert abs(ratio_db - 20 * np.log10(2**-7)) < 0.5


def test_wavenet_chunks_continue_each_other(models):
    """Sampling goes on from the state where the chunk before ended: what overlaps is the same, so a cross-fade changes nothing."""
    x = melody(6.0)
    load = TimbreTransfer.load(models, Chunking(body_s=100))
    level_db = load.generator.transfer(load.levels(x), "guitar")
    whole = load.vocoder.parts["wavenet"].wavenet(level_db, "guitar", len(x), seed=3)
    again = load.vocoder.parts["wavenet"].wavenet(level_db, "guitar", len(x), seed=4, before=whole[:40000])
    assert np.abs(again[:40000] - whole[:40000]).max() < 1e-3 and not np.array_equal(again[41000:], whole[41000:])
    y = TimbreTransfer.load(models, Chunking(body_s=3.0))(x, RATE, "guitar", "wavenet")
    assert y.shape == x.shape and np.isfinite(y).all()


@pytest.mark.parametrize("damage", [b"{", b"{}", b""])
def test_damaged_models_are_refused_in_one_sentence(models, tmp_path, damage):
    train_nothing(tmp_path)
    (tmp_path / "vocoder" / "config.json").write_bytes(damage)
    with pytest.raises(RetimbreError, match="vocoder is damaged"):
        TimbreTransfer.load(tmp_path)
    train_nothing(tmp_path)
    weights = tmp_path / "cyclegan" / "generators.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(RetimbreError, match="cyclegan is damaged"):
        TimbreTransfer.load(tmp_path)


def test_odd_arguments_are_refused(models, tmp_path, capsys):
    known = ["--models", str(models)]
    assert "folder" in refused(capsys, str(tmp_path), "--to", "guitar", *known)
    song = tmp_path / "song.wav"
    soundfile.write(song, melody(1.0), RATE)
    assert "instrument" in refused(capsys, str(song), "--to", "x/y", *known)
    with pytest.raises(SystemExit) as stop:
        main(["transfer", str(song), "--to", "guitar", "--seed", "-1", *known])
    assert stop.value.code == 2 and "whole number" in capsys.readouterr().err


def test_a_loud_input_that_would_clip_comes_out_quieter_and_that_is_said(models, tmp_path, capsys):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.clip(40 * melody(2.0), -1, 1), RATE)
    main(["transfer", str(path), "--to", "guitar", "-o", str(tmp_path / "out.wav"), "--models", str(models)])
    assert "dB quieter than the input, not to clip" in capsys.readouterr().out
    assert np.abs(soundfile.read(tmp_path / "out.wav")[0]).max() <= 0.995
