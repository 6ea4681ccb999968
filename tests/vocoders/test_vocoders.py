"""Every way from spectra to audio: networks trained for a moment on a few tunes, stored, read again."""

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError
from retimbre.metrics.spectral import paired_lsd
from retimbre.provenance import digest
from retimbre.vocoders import params
from retimbre.vocoders.catalogue import CLASSES, Vocoder, Vocoders
from retimbre.vocoders.excited.train import segment_frames
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.kinds import KINDS, STARTS_FROM
from retimbre.vocoders.params import GriffinLim, Rendering
from tests.toys.vocoders import DOMAINS, train_networks, tune, vocoder_params, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All networks, a folder each."""
    folder = tmp_path_factory.mktemp("vocoder")
    for name, made in train_networks(data).items():
        made.save(folder / name)
    return folder


@pytest.fixture(scope="module")
def vocoders(folder: Path) -> Vocoders:
    return Vocoders.load(folder)


def spectrum(vocoder: Vocoder, audio: np.ndarray) -> np.ndarray:
    return spectrum_of(audio, vocoder.features, vocoder.representation)


def test_params_and_the_catalogue_name_the_same():
    assert set(get_args(params.Kind)) == set(KINDS)
    assert set(params.Vocoder.model_fields) - {"representation"} == set(STARTS_FROM) == set(CLASSES)
    order = list(STARTS_FROM)
    for name, start in STARTS_FROM.items():
        assert start == "features" or order.index(start.removeprefix("models/vocoder/")) < order.index(name)
    for kind in KINDS.values():
        places = [order.index(name) for name in kind.networks]
        assert places == sorted(places), "trained in this order"
        start = STARTS_FROM[kind.networks[-1]]
        assert kind.networks[:-1] == (() if start == "features" else (start.removeprefix("models/vocoder/"),))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_audio_of_the_asked_length(vocoders, kind):
    source, vocoder = tune("reed", 9)[:20000], vocoders.by(kind)
    spectrum_db = spectrum(vocoder, source)

    def made(domain: str, source: np.ndarray | None = source) -> np.ndarray:
        return vocoder.synthesise(spectrum_db, 20000, domain, source, seed=1)

    y = made("bell")
    assert y.shape == source.shape and y.dtype == np.float32 and np.isfinite(y).all()
    assert np.array_equal(y, made("bell"))
    if not KINDS[kind].needs_source:
        assert np.array_equal(y, made("bell", None))
    if not KINDS[kind].needs_domain:
        assert np.array_equal(y, made("reed"))


@pytest.mark.parametrize(
    "networks", [["inverter"], ["inverter", "istft"], ["wavenet"], ["inverter", "excited"]]
)
def test_networks_do_not_depend_on_what_else_is_trained(data, folder, vocoders, networks, tmp_path):
    """The same sounds alone as beside others, before and after the disk."""
    alone = train_networks(data, networks)
    for name, made in alone.items():
        made.save(tmp_path / name)
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert (
            files
            == {"config.json", f"{name}.safetensors"}
            == {path.name for path in (folder / name).iterdir()}
        )
    again = Vocoders.load(tmp_path)
    assert again.networks == networks
    known = [kind for kind, needs in KINDS.items() if set(needs.networks) <= set(networks)]
    assert sorted(again.kinds) == sorted(known)
    source = tune("bell", 8)[:12000]
    for kind in known:
        ways = [Vocoder(kind, alone[KINDS[kind].networks[-1]]), again.by(kind), vocoders.by(kind)]
        spectrum_db = spectrum(ways[0], source)
        sounds = [way.synthesise(spectrum_db, len(source), "reed", source, 3) for way in ways]
        assert np.array_equal(sounds[0], sounds[1]) and np.array_equal(sounds[0], sounds[2]), kind
    for kind in set(KINDS) - set(known):
        with pytest.raises(
            RetimbreError, match=rf"^the vocoder {kind} is not trained .* run `dvc repro vocoder@"
        ):
            again.by(kind)


def test_the_default_kind_is_the_first_and_only_wanted_networks_count(folder):
    assert Vocoders.load(folder).kinds[0] == "griffin_lim" == Vocoders.load(folder).by().kind
    other = Vocoders.load(folder, Rendering(vocoder="istft"))
    assert other.kinds[0] == "istft" == other.by(None).kind
    dropped = Vocoders.load(folder, wanted=["inverter", "wavenet"])  # the folders of dropped ones stay
    assert dropped.kinds == ["griffin_lim", "source_phase", "wavenet"]


def test_how_it_is_rendered_changes_the_sound_of_what_is_trained(folder):
    x = tune("reed", 7)[:12000]
    plain = Vocoders.load(folder).by("griffin_lim")
    other = Vocoders.load(folder, Rendering(griffin_lim=GriffinLim(low_band_hops=0))).by("griffin_lim")
    y, z = (way.synthesise(spectrum(way, x), len(x), "reed") for way in (plain, other))
    assert not np.array_equal(y, z)


def test_refusals(folder, vocoders, tmp_path):
    spectrum_db = spectrum(vocoders.by(), tune("bell", 8)[:8000])
    with pytest.raises(
        RetimbreError, match="^'organ' is not a kind of vocoder: choose griffin_lim, source_phase,"
    ):
        vocoders.by("organ")
    sentence = "^the vocoder source_phase needs the source recording: choose one without .*griffin_lim, istft"
    with pytest.raises(RetimbreError, match=sentence):
        vocoders.by("source_phase").synthesise(spectrum_db, 8000, "reed")
    sentence = (
        "the vocoder wavenet was not trained on organ but on reed, bell: run `dvc repro vocoder@wavenet`"
    )
    with pytest.raises(RetimbreError, match=sentence):
        vocoders.by("wavenet").synthesise(spectrum_db, 8000, "organ")
    with pytest.raises(RetimbreError, match="has no trained vocoder: train them with `dvc repro`"):
        Vocoders.load(tmp_path)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy/istft/istft.safetensors").write_bytes(b"")
    with pytest.raises(RetimbreError, match=r"copy/istft is damaged .*: `dvc checkout --force "):
        Vocoders.load(tmp_path / "copy").by("istft")
    (tmp_path / "copy/inverter/inverter.safetensors").unlink()
    with pytest.raises(
        RetimbreError, match="has no trained inverter: train it with `dvc repro vocoder@inverter`"
    ):
        Vocoders.load(tmp_path / "copy").by("griffin_lim")


def test_what_an_output_depends_on(folder, tmp_path):
    """Its own network, those below it and how they are used; nothing of the others."""

    def digests(where: Path = folder, rendering: Rendering | None = None) -> dict[str, str]:
        found = Vocoders.load(where, rendering or Rendering())
        return {kind: digest(found.by(kind)) for kind in KINDS}

    first = digests()
    assert first == digests() and len(set(first.values())) == len(KINDS)
    shutil.copytree(folder, tmp_path / "copy")
    assert digests(tmp_path / "copy") == first, "wherever it lies"
    shutil.copy(folder / "excited/excited.safetensors", tmp_path)
    weights = tmp_path / "copy/inverter/inverter.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    moved = digests(tmp_path / "copy")
    assert {kind for kind in KINDS if moved[kind] != first[kind]} == set(KINDS) - {"wavenet"}
    warmer = digests(rendering=Rendering(wavenet=params.Sampling(temperature=0.8)))
    assert {kind for kind in KINDS if warmer[kind] != first[kind]} == {"wavenet"}


@pytest.mark.parametrize(("rate", "n_fft", "hop"), [(25000, 511, 128), (16000, 1024, 256)])
def test_stft_spectra_need_no_network(rate, n_fft, hop, tmp_path):
    """Gupta and Naik's features, 256 bins at 25 kHz: a recording's spectrum and phases give it back."""
    features = FeatureConfig(rate, hop, "retimbre", 32.7031956626, 84, 12, n_fft, 80, 60.0)
    config = {
        "domains": DOMAINS,
        "features": features.to_dict(),
        "representation": "stft",
        "top_db": 20.0,
        "rms": 0.1,
    }
    Inverter(None, config, {}).save(tmp_path / "inverter")
    assert [path.name for path in (tmp_path / "inverter").iterdir()] == ["config.json"]
    found = Vocoders.load(tmp_path, Rendering(griffin_lim=GriffinLim(iterations=16)))
    on_phases, alone = found.by("source_phase"), found.by("griffin_lim")
    x = tune("reed", 7)[: 5 * rate // 4]
    spectrum_db = spectrum(alone, x)
    assert spectrum_db.shape == (n_fft // 2 + 1, len(x) // hop + 1)
    y = on_phases.synthesise(spectrum_db, len(x), "reed", x)
    assert np.abs(y - x).max() < 0.02 * np.abs(x).max()
    silent = np.full_like(spectrum_db, 20.0 - 60)  # the range's floor is silence, not a hiss
    assert not on_phases.synthesise(silent, len(x), "reed", x).any()
    assert paired_lsd(alone.synthesise(spectrum_db, len(x), "reed"), x, rate) < 4


@pytest.mark.parametrize("representation", ["mel", "stft"])
def test_other_representations_are_trained_too(data, representation):
    made = train_networks(data, representation=representation)
    assert (made["inverter"].network is None) == (representation == "stft")
    x = tune("bell", 6)[:12000]
    for kind, needs in KINDS.items():
        vocoder = Vocoder(kind, made[needs.networks[-1]])
        spectrum_db = spectrum(vocoder, x)
        assert len(spectrum_db) == vocoder.features.bins(representation)
        assert np.isfinite(vocoder.synthesise(spectrum_db, len(x), "reed", x)).all(), kind


def test_segments_are_no_longer_than_recordings(data):
    """``segment_frames`` is a wish: recordings of three seconds are trained on too."""
    frames = {e.length for e in data.features.excerpts(split="train")}
    assert len(frames) == 1
    long = {"segment_frames": 250}
    assert segment_frames(data.features, vocoder_params(excited=long).excited) == frames.pop() - 1 < 250
    assert segment_frames(data.features, vocoder_params(excited={"segment_frames": 16}).excited) == 16
    assert train_networks(data, ["inverter", "excited"], excited=long)["excited"].network is not None
    too_long = {"crop_frames": 300, "segment_frames": 400}
    sentence = "no train reed excerpt is .* lower vocoder.excited.crop_frames in params.yaml"
    with pytest.raises(RetimbreError, match=sentence):
        train_networks(data, ["inverter", "excited"], excited=too_long)
