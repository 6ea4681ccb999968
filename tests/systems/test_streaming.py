"""Whole files through real (small, untrained) networks: what the path around them must keep."""

from dataclasses import dataclass

import numpy as np
import pytest
import soundfile

from retimbre import Retimbre, transfer
from retimbre.audio.loudness import LoudnessMeter
from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue, streaming
from retimbre.systems.base import RMS, Spectral
from retimbre.systems.streaming import Chunking
from retimbre.vocoders.inverter.vocoder import Inverter
from retimbre.vocoders.params import Rendering
from tests.toys.models import CONFIG, RATE, melody, write_cyclegan, write_models, write_resynthesis

KINDS = ["source_phase", "griffin_lim", "istft", "wavenet"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def load(models, kind: str = "source_phase") -> Spectral:
    return catalogue.load("cyclegan", models, kind)


def loudness(x: np.ndarray, rate: int) -> float:
    meter = LoudnessMeter(rate)
    meter.update(x)
    return meter.lufs()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rate", "seconds"), [(RATE, 1.0), (44100, 0.77), (8000, 0.1)])
def test_same_length_and_loudness_by_every_vocoder(models, kind, rate, seconds):
    x = melody(seconds, rate)
    y = transfer(x, rate, "guitar", vocoder=kind, models=models)
    assert y.shape == x.shape and y.dtype == np.float32 and np.isfinite(y).all()
    assert np.abs(y).max() <= 1
    if seconds >= 0.5 and np.abs(y).max() < 0.95:  # a gating block, and no peak that limits the level
        assert abs(loudness(y, rate) - loudness(x, rate)) < 1.0


def test_chunks_of_any_size_give_the_same_samples_on_the_source_phase(models):
    x = melody(12.3)
    system = load(models)
    whole = streaming.transfer(system, x, RATE, "guitar", chunking=Chunking(body_s=100))
    for body in (3.0, 4.5):
        y = streaming.transfer(system, x, RATE, "guitar", chunking=Chunking(body_s=body))
        assert np.abs(y - whole).max() < 1e-5


@pytest.mark.parametrize("kind", ["griffin_lim", "istft"])
def test_chunks_without_the_sources_phase_have_no_seam(models, kind):
    """At the seams the change from sample to sample is no larger than elsewhere, and no energy is lost."""
    x = melody(10.0)
    y, whole = (
        streaming.transfer(load(models, kind), x, RATE, "guitar", chunking=Chunking(body_s=body))
        for body in (4.0, 100)
    )
    places = [slice(round((seam - 0.1) * RATE), round((seam + 0.15) * RATE)) for seam in (4.0, 8.0)]
    steps = np.abs(np.diff(y))
    elsewhere = np.ones(len(steps), bool)
    for place in places:
        elsewhere[place] = False
    for place in places:
        assert steps[place].max() <= 1.25 * steps[elsewhere].max()
        assert abs(10 * np.log10(np.mean(y[place] ** 2) / np.mean(whole[place] ** 2))) < 1.5


def test_the_image_is_kept_at_any_rate_in_pieces_as_in_the_whole(models):
    """Two players and, between them, a channel of both: what their mix becomes, where they were."""
    left, right = 0.3 * melody(6.3, 44100), 0.3 * melody(6.3, 44100)[::-1]
    x = np.stack([left, 0.5 * (left + right), right], 1)
    system = load(models)
    whole, pieces = (
        streaming.transfer(system, x, 44100, "guitar", chunking=Chunking(body_s=body)) for body in (100, 3.0)
    )
    assert whole.shape == x.shape and np.abs(pieces - whole).max() < 1e-4
    mono = streaming.transfer(system, x, 44100, "guitar", mono=True)
    assert mono.shape == (len(x),) and abs(np.corrcoef(whole.mean(1), mono)[0, 1]) > 0.8
    louder = np.sum(whole**2) / (2 * np.sum(mono**2))  # than mono from two loudspeakers
    assert abs(10 * np.log10(louder)) < 0.5


@pytest.mark.parametrize("gains", [[1, 1], [1, 0], [0.3, -1]])
def test_a_panned_source_is_its_mono_transfer_panned(models, gains):
    x = melody(2.0)[:, None] * np.array(gains)
    y, mono = (transfer(x, RATE, "piano", models=models, mono=mono) for mono in (False, True))
    # The mix of channels in opposite phase has the phase of the louder one.
    expected = mono[:, None] * gains * np.sign(sum(gains)) / np.sqrt(np.mean(np.square(gains)))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    if gains == [1, 1]:
        assert np.array_equal(y[:, 0], y[:, 1])
        assert np.array_equal(mono, transfer(x[:, 0], RATE, "piano", models=models))


@pytest.mark.parametrize("mono", [False, True])
def test_a_share_of_the_recording_is_kept_as_loud_and_in_time(mono):
    """By a system that is half as loud and 0.1 s late, so that both can be told apart."""
    t = np.arange(2 * RATE) / RATE
    x = np.outer(np.sin(2 * np.pi * 440 * t) * np.sin(np.pi * t / 2) ** 2, [0.2, 0.1]).astype(np.float32)
    made, kept, both = (
        streaming.transfer(Delay(800), x, RATE, "echo", mono=mono, mix=m) for m in (0, 1, 0.3)
    )
    np.testing.assert_allclose(both, np.sqrt(0.7) * made + np.sqrt(0.3) * kept, atol=1e-4)
    np.testing.assert_allclose(kept, x.mean(1) * np.sqrt(10 / 9) if mono else x, atol=1e-5)
    for wrong in (-0.1, 1.01, float("nan")):
        with pytest.raises(RetimbreError, match="mix is .*, and a share from 0 to 1 is needed"):
            streaming.transfer(Delay(800), x, RATE, "echo", mix=wrong)


def test_level_of_the_input_does_not_change_what_the_networks_see(models):
    x = melody(1.0)
    # Powers of two: other factors round differently, and untrained networks make noise of that.
    loud, soft = (
        transfer(g * x, RATE, "guitar", vocoder="source_phase", models=models) / g for g in (0.5, 0.03125)
    )
    assert np.abs(loud - soft).max() < 1e-4


@pytest.mark.parametrize(
    ("suffix", "subtype", "channels"),
    [("wav", "PCM_24", 2), ("flac", "PCM_16", 1), ("ogg", "VORBIS", 2), ("mp3", "MPEG_LAYER_III", 1)],
)
def test_files_of_any_format(models, tmp_path, suffix, subtype, channels, capsys):
    x = melody(2.0, 44100)
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, np.stack([x] * channels, 1), 44100, subtype)
    given = [
        "transfer",
        str(path),
        "--to",
        "guitar",
        "-o",
        str(tmp_path / "out.wav"),
        "--models",
        str(models),
    ]
    for more, kept in (([], channels), (["--mono"], 1)):
        main([*given, *more])
        info = soundfile.info(tmp_path / "out.wav")
        assert (info.samplerate, info.channels, info.frames) == (44100, kept, soundfile.info(path).frames)
        said = capsys.readouterr().out
        assert "out.wav" in said and ("mixed down" in said) == (channels > kept)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.wav", path.name]


def test_default_output_name_and_existing_file_is_replaced_only_by_a_finished_one(
    models, tmp_path, monkeypatch
):
    path = tmp_path / "song.wav"
    soundfile.write(path, melody(1.0), RATE)
    main(["transfer", str(path), "--to", "guitar", "--models", str(models)])
    out = tmp_path / "song-guitar.wav"
    first = out.read_bytes()
    monkeypatch.setattr(
        Spectral, "continued", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("power cut"))
    )
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
    names = ("song.wav", "silent.wav", "short.wav", "text.wav", "empty.wav")
    song, silent, short, text, empty = (tmp_path / name for name in names)
    soundfile.write(song, melody(1.0), RATE)
    soundfile.write(silent, np.zeros(RATE), RATE)
    soundfile.write(short, melody(0.05), RATE)
    text.write_text("not audio")
    soundfile.write(empty, np.zeros(0), RATE)
    known = ["--models", str(models)]
    assert "choose piano, guitar" in refused(capsys, str(song), "--to", "tuba", *known)
    assert "silent" in refused(capsys, str(silent), "--to", "guitar", *known)
    assert "shorter" in refused(capsys, str(short), "--to", "guitar", *known)
    assert "text.wav" in refused(capsys, str(text), "--to", "guitar", *known)
    assert "empty.wav" in refused(capsys, str(empty), "--to", "guitar", *known)
    assert "absent.wav" in refused(capsys, str(tmp_path / "absent.wav"), "--to", "guitar", *known)
    assert "dvc repro" in refused(capsys, str(song), "--to", "guitar", "--models", str(tmp_path / "none"))
    assert "must end in .wav, .flac, .ogg, .opus or .mp3" in refused(
        capsys, str(song), "--to", "guitar", "-o", str(tmp_path / "x.aiff"), *known
    )
    assert "itself" in refused(capsys, str(song), "--to", "guitar", "-o", str(song), *known)
    assert "folder" in refused(
        capsys, str(song), "--to", "guitar", "-o", str(tmp_path / "no" / "x.wav"), *known
    )
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("kind", ["source_phase", "griffin_lim"])
def test_stft_spectra_at_25_khz_go_all_the_way(tmp_path, kind):
    """Gupta and Naik's features (511-point windows, 256 bins): no inverter is trained; generators that change
    nothing give the input back on its own phases.
    """
    features = CONFIG["features"] | {"sample_rate": 25000, "hop_length": 128, "stft_n_fft": 511}
    config = CONFIG | {"features": features, "representation": "stft", "top_db": 30.0}
    write_cyclegan(tmp_path, 0.0, config, channels=8, blocks=1)
    Inverter(None, config, {}).save(tmp_path / "vocoder/inverter")
    x = melody(1.5, 44100)
    y = streaming.transfer(load(tmp_path, kind), x, 44100, "guitar", chunking=Chunking(body_s=0.7))
    assert y.shape == x.shape and abs(loudness(y, 44100) - loudness(x, 44100)) < 0.5
    alike = float(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)))
    assert alike > 0.99 if kind == "source_phase" else np.isfinite(y).all()


def test_the_vocoder_is_picked_and_must_be_trained(models, tmp_path, monkeypatch, capsys):
    song, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(song, melody(1.0), RATE)
    given = ["transfer", str(song), "--to", "guitar", "-o", str(out), "--models"]
    made = {}
    for kind in (None, "griffin_lim", "istft"):
        main([*given, str(models), *(["--vocoder", kind] if kind else [])])
        made[kind] = out.read_bytes()
    assert made[None] == made["griffin_lim"] != made["istft"], "the default is the params' default"
    write_models(tmp_path / "models")
    (tmp_path / "models/vocoder/wavenet/config.json").unlink()
    monkeypatch.setattr("retimbre.systems.cli.rendering", lambda: Rendering(vocoder="istft"))
    main([*given, str(tmp_path / "models")])
    assert out.read_bytes() == made["istft"], (
        "what is not trained is not missed, and the project's default is another"
    )
    capsys.readouterr()
    out.unlink()
    said = refused(capsys, *given[1:], str(tmp_path / "models"), "--vocoder", "wavenet")
    assert "the vocoder wavenet is not trained (there are istft, griffin_lim, source_phase)" in said
    assert "run `dvc repro vocoder@wavenet`" in said and not out.exists()


def test_the_system_is_picked(models, tmp_path, capsys):
    """The first that is trained and knows the instrument, or the one that is named; the output says which."""
    write_models(tmp_path / "models")
    other = tmp_path / "models/another"
    (tmp_path / "models/cyclegan").rename(other)
    config = other / "config.json"
    config.write_text(config.read_text().replace('"guitar"', '"harp"', 1))
    write_cyclegan(tmp_path / "models", 0.2)
    song, known = tmp_path / "song.wav", ["--models", str(tmp_path / "models"), "--vocoder", "istft"]
    soundfile.write(song, melody(1.0), RATE)
    for arguments, name in (
        (["--to", "guitar"], "cyclegan"),
        (["--to", "harp"], "another"),
        (["--to", "piano"], "cyclegan"),
        (["--to", "piano", "--system", "another"], "another"),
    ):
        main(["transfer", str(song), *arguments, *known])
        assert f"(by {name} of {tmp_path / 'models'}, " in capsys.readouterr().out
    said = refused(capsys, str(song), "--to", "tuba", *known)
    assert f"'tuba' is no instrument of the trained systems: choose piano, guitar, harp ({known[1]})." in said
    said = refused(capsys, str(song), "--to", "harp", "--system", "cyclegan", *known)
    assert f"'harp' is no instrument of the trained systems: choose piano, guitar ({known[1]})." in said
    said = refused(capsys, str(song), "--to", "harp", "--system", "pix2pix", *known)
    assert "pix2pix has no trained pix2pix: train it with `dvc repro system@pix2pix`" in said
    said = refused(capsys, str(song), "--to", "guitar", "--transpose", "1", *known)
    assert "cyclegan can neither transpose nor even out: leave --transpose and --expression out." in said


def test_the_default_system_transposes_into_the_range(tmp_path, capsys):
    write_resynthesis(write_models(tmp_path / "models"))
    song, known = tmp_path / "song.wav", ["--models", str(tmp_path / "models"), "--vocoder", "griffin_lim"]
    t = np.arange(2 * RATE) / RATE
    low = sum(np.sin(2 * np.pi * 32.7 * h * t) / h for h in range(1, 9)) * np.exp(-(t % 0.5))  # C1, key 3
    soundfile.write(song, 0.2 * low, RATE)
    main(["transfer", str(song), "--to", "guitar", "--transpose", "auto", *known])
    said = capsys.readouterr()
    assert "(by resynthesis of " in said.out
    assert f"note: {song}: transposed by +2 octaves into the range of the guitar" in said.err
    main(["transfer", str(song), "--to", "piano", "--transpose", "auto", "--expression", "0", *known])
    assert "transposed" not in capsys.readouterr().err


def test_models_that_do_not_belong_together_are_refused(tmp_path):
    write_models(tmp_path)
    for path in (tmp_path / "vocoder").glob("*/config.json"):
        path.write_text(path.read_text().replace('"range_db": 60.0', '"range_db": 70.0'))
    with pytest.raises(
        RetimbreError, match="data/models/cyclegan and data/models/vocoder .* different features"
    ):
        load(tmp_path)


@dataclass(frozen=True)
class Delay:
    """A system that knows no chunks: what it hears, half as loud and ``samples`` late."""

    samples: int
    name: str = "delay"
    sample_rate: int = 8000
    rms: float = RMS
    targets: tuple[str, ...] = ("echo",)
    sources: None = None
    slow: bool = False

    def transfer(self, audio, to, seed=0):
        return 0.5 * np.pad(audio, (self.samples, 0))[: len(audio)]


def test_a_system_of_one_method_streams_too():
    """Chunks with context and a cross-fade: as in one piece, at the input's rate and loudness."""
    x = melody(7.3)
    whole, chunked = (
        streaming.transfer(Delay(800), x, RATE, "echo", chunking=Chunking(body_s=body)) for body in (100, 1.7)
    )
    assert whole.shape == x.shape and np.abs(chunked - whole).max() < 1e-5
    late = x[: len(x) - 1600]
    assert (
        np.corrcoef(whole[1600:], late)[0, 1] > 0.98 and abs(loudness(whole, RATE) - loudness(x, RATE)) < 0.5
    )
    with pytest.raises(RetimbreError, match="'guitar' is no instrument of this system: choose echo"):
        streaming.transfer(Delay(800), x, RATE, "guitar")


def test_audio_that_is_not_finite_is_refused(models):
    with pytest.raises(RetimbreError, match="finite"):
        transfer(np.array([0.0, np.nan] * 9000), RATE, "guitar", models=models)


def test_quiet_recordings_are_not_lost_below_the_loudness_meters_gate(models):
    x = melody(1.0)
    quiet = x * np.float32(2**-9)  # below -70 LUFS, above the silence limit
    y = transfer(quiet, RATE, "guitar", models=models)
    ratio_db = 10 * np.log10(
        np.mean(y**2) / np.mean(transfer(x * np.float32(0.25), RATE, "guitar", models=models) ** 2)
    )
    assert abs(ratio_db - 20 * np.log10(2**-7)) < 0.5


def test_wavenet_chunks_continue_each_other(models):
    """Sampling goes on where the chunk before ended: a cross-fade of equal samples changes nothing."""
    x = melody(6.0)
    system = load(models, "wavenet")
    spectrum_db = system.spectrum(x, "guitar")
    whole = system.vocoder.synthesise(spectrum_db, len(x), "guitar", seed=3)
    again = system.vocoder.synthesise(spectrum_db, len(x), "guitar", seed=4, before=whole[:40000])
    assert np.abs(again[:40000] - whole[:40000]).max() < 1e-3 and not np.array_equal(
        again[41000:], whole[41000:]
    )
    y = streaming.transfer(system, x, RATE, "guitar", chunking=Chunking(body_s=3.0))
    assert y.shape == x.shape and np.isfinite(y).all()


@pytest.mark.parametrize("damage", [b"{", b"{}", b"[]", b""])
def test_damaged_models_are_refused_in_one_sentence(tmp_path, damage):
    write_models(tmp_path)
    config = tmp_path / "cyclegan/config.json"
    whole = config.read_bytes()
    config.write_bytes(damage)
    with pytest.raises(
        RetimbreError, match=r"cyclegan is damaged .*`dvc checkout --force .*cyclegan` restores it\.$"
    ):
        load(tmp_path)
    if damage != b"{}":  # which only knows no instrument
        with pytest.raises(RetimbreError, match="cyclegan is damaged"):
            Retimbre.load(tmp_path).find("guitar")
    config.write_bytes(whole)
    (tmp_path / "vocoder/inverter/config.json").write_bytes(damage)
    with pytest.raises(RetimbreError, match="vocoder/inverter is damaged"):
        load(tmp_path)
    write_models(tmp_path)
    weights = tmp_path / "cyclegan/generators.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(RetimbreError, match="cyclegan is damaged"):
        load(tmp_path)


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
