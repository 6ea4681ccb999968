"""Audio files: real formats read back, mistakes in one sentence, and nothing but that from broken bytes."""

import io
import os
import resource

import numpy as np
import pytest
import scipy.signal
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retimbre.audio import files
from retimbre.errors import RetimbreError

FORMATS = {
    "wav": ("WAV", "PCM_16", 1e-3),
    "flac": ("FLAC", "PCM_24", 1e-3),
    "aiff": ("AIFF", "PCM_16", 1e-3),
    "ogg": ("OGG", "VORBIS", 0.15),
    "mp3": ("MP3", "MPEG_LAYER_III", 0.15),
}


def tone(rate: int, seconds: float = 0.5, frequency: float = 440.0) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return (0.4 * np.sin(2 * np.pi * frequency * time) * np.hanning(len(time))).astype(np.float32)


def noise(samples: int, channels: int = 1) -> np.ndarray:
    """Noise that holds nothing below hearing."""
    x = np.random.default_rng(0).uniform(-0.25, 0.25, (samples + 1, channels))
    return np.diff(x, axis=0)


def encoded(kind: str, rate: int = 22050) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.stack([tone(rate), tone(rate, frequency=660)], axis=1),
        rate,
        format=FORMATS[kind][0],
        subtype=FORMATS[kind][1],
    )
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_reads_format_as_mono_at_the_wanted_rate(tmp_path, kind):
    name, subtype, tolerance = FORMATS[kind]
    path = tmp_path / f"a.{kind}"
    both = np.stack([tone(48000), tone(48000, frequency=660)], axis=1)
    soundfile.write(path, both, 48000, format=name, subtype=subtype)
    info = files.probe(path)
    assert (info.sample_rate, info.channels) == (48000, 2)
    assert info.frames == pytest.approx(0.5 * 48000, abs=0.06 * 48000)  # MP3 pads to whole blocks
    x = files.read_mono(path, 16000)
    expected = (tone(16000) + tone(16000, frequency=660)) / 2
    assert x.dtype == np.float32 and abs(len(x) - 8000) <= 0.06 * 16000
    error = x[: len(expected)] - expected[: len(x)]
    assert np.linalg.norm(error) < tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 44101])
def test_resampling_agrees_with_scipy_and_has_no_delay(tmp_path, rate):
    x = tone(rate)
    soundfile.write(tmp_path / "a.wav", x, rate, subtype="FLOAT")
    y = files.read_mono(tmp_path / "a.wav", 16000)
    assert len(y) == round(len(x) * 16000 / rate)
    common = np.gcd(rate, 16000)
    if rate != 44101:  # coprime rates make scipy's filter as long as the audio
        z = scipy.signal.resample_poly(x.astype(np.float64), 16000 // common, rate // common)
        assert np.linalg.norm(y - z[: len(y)]) < 2e-3 * np.linalg.norm(z)
    else:
        assert np.linalg.norm(y[:8000] - tone(16000)[: len(y)]) < 1e-2 * np.linalg.norm(y)


@pytest.mark.parametrize("rate", [16000, 44100, 22050])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_slice_is_a_slice_of_the_whole(tmp_path, rate, kind):
    soundfile.write(
        tmp_path / f"a.{kind}", noise(2 * rate), rate, format=FORMATS[kind][0], subtype=FORMATS[kind][1]
    )
    whole = files.read_mono(tmp_path / f"a.{kind}", 16000)
    for start, stop in [(0, 100), (1, 7001), (12345, 20000), (29000, None), (31000, 10**6)]:
        part = files.read_mono(tmp_path / f"a.{kind}", 16000, start, stop)
        assert len(part) == len(whole[start:stop])
        np.testing.assert_allclose(part, whole[start:stop], atol=2e-4)


def test_adjoining_slices_tile_the_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(44100), 44100)
    pieces = [files.read_mono(tmp_path / "a.wav", 16000, s, s + 5000) for s in range(0, 16000, 5000)]
    np.testing.assert_allclose(np.concatenate(pieces), files.read_mono(tmp_path / "a.wav", 16000), atol=2e-4)


@pytest.mark.parametrize("rate", [16000, 44100, 11025])
def test_stream_is_the_whole_in_blocks(tmp_path, rate, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_SAMPLES", 3001)
    soundfile.write(tmp_path / "a.wav", noise(rate, 2), rate)
    reader = files.StreamReader(tmp_path / "a.wav", 16000)
    blocks = list(reader)
    whole = files.read_mono(tmp_path / "a.wav", 16000)
    assert len(blocks) > 3 and max(map(len, blocks)) < len(whole) / 2
    assert len(whole) == 16000
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(list(reader)), np.concatenate(blocks))


def refused(path, *words: str, action=lambda path: files.read_mono(path, 16000)) -> None:
    with pytest.raises(RetimbreError) as caught:
        action(path)
    text = str(caught.value)
    assert os.path.basename(path) in text and text.endswith(".") and "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("rate", [16000, 44100])
def test_long_mp3_files_are_decoded_as_in_one_read(tmp_path, rate):
    t = np.arange(12 * rate) / rate
    soundfile.write(tmp_path / "long.mp3", 0.3 * np.sin(2 * np.pi * 330 * t), rate, format="MP3")
    whole, _ = soundfile.read(tmp_path / "long.mp3", dtype="float32")
    assert np.abs(files.read_mono(tmp_path / "long.mp3", rate) - whole).max() < 1e-6


def test_mistakes_are_named(tmp_path):
    refused(tmp_path / "no.wav", "does not exist")
    refused(tmp_path, "folder")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "empty")
    (tmp_path / "text.wav").write_text("These are not the sounds you are looking for. " * 20)
    refused(tmp_path / "text.wav", "not audio")
    (tmp_path / "headless.raw").write_bytes(b"\0" * 1000)
    refused(tmp_path / "headless.raw", "sample rate")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    refused(tmp_path / "none.wav", "no audio samples")
    refused(tmp_path / "none.wav", "no audio samples", action=files.probe)
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 48000)  # less than one sample at 16 kHz
    refused(tmp_path / "one.wav", "no audio")
    refused(tmp_path / "one.wav", "no audio", action=lambda path: list(files.StreamReader(path, 16000)))
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.5]), 16000, subtype="FLOAT")
    refused(tmp_path / "nan.wav", "not finite")
    refused(tmp_path / "nan.wav", "not finite", action=lambda path: list(files.StreamReader(path, 16000)))
    soundfile.write(tmp_path / "slow.wav", np.zeros(100), 3)
    refused(tmp_path / "slow.wav", "3 Hz")
    soundfile.write(tmp_path / "short.wav", tone(44100), 44100)
    refused(tmp_path / "short.wav", "start_s", action=lambda path: files.read_mono(path, 16000, 50000))
    refused(tmp_path / "short.wav", "start_s", action=lambda path: files.read_mono(path, 16000, 8001, 8010))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000)
    (tmp_path / "a.wav").chmod(0)
    refused(tmp_path / "a.wav", "permissions")


def read_every_way(path) -> None:
    """Audio, or a RetimbreError; any other exception fails the test."""
    for action in (
        lambda: files.read_mono(path, 16000),
        lambda: np.concatenate(list(files.StreamReader(path, 16000))),
        lambda: files.read_mono(path, 16000, 3000, 5000),
    ):
        try:
            x = action()
        except RetimbreError as error:
            assert str(path) in str(error)
        else:
            assert x.dtype == np.float32 and x.ndim == 1 and len(x) > 0 and np.isfinite(x).all()


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HEADERS = [
    b"",
    b"RIFF",
    b"RIFF\x24\x00\x00\x00WAVEfmt ",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb\x90",
    b"FORM\x00\x00\x00\x20AIFFCOMM",
]


@FUZZ
@given(
    header=st.sampled_from(HEADERS),
    body=st.binary(max_size=400),
    suffix=st.sampled_from([*FORMATS, "raw", "txt"]),
)
def test_random_bytes_never_crash_a_reader(tmp_path, header, body, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(header + body)
    read_every_way(path)


REAL = {}


def test_a_header_that_claims_hours_costs_no_memory(tmp_path):
    data = bytearray(encoded("flac"))
    data[21] |= 0x0F  # the top bits of STREAMINFO's sample count: 60 billion
    path = tmp_path / "a.flac"
    path.write_bytes(bytes(data))
    assert files.probe(path).frames > 6e10
    read_every_way(path)


@FUZZ
@given(
    kind=st.sampled_from(list(FORMATS)),
    keep=st.floats(0, 1),
    where=st.floats(0, 1),
    change=st.binary(max_size=8),
)
def test_truncated_and_damaged_files_never_crash_a_reader(tmp_path, kind, keep, where, change):
    data = bytearray(REAL.setdefault(kind, encoded(kind)))
    at = int(where**4 * len(data))  # mostly in the header
    data[at : at + len(change)] = change
    path = tmp_path / f"a.{kind}"
    path.write_bytes(bytes(data[: int(keep * len(data))]))
    read_every_way(path)


def test_write_then_read(tmp_path):
    x = tone(16000)
    for subtype, step in [("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0.0)]:
        path = tmp_path / "new" / "folder" / f"{subtype}.wav"
        files.write_wav(path, x, 16000, subtype)
        y, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000 and soundfile.info(path).subtype == subtype
        np.testing.assert_allclose(y, x, atol=step)
        assert b"PEAK" not in path.read_bytes()  # that chunk holds the time of day
        assert [p.name for p in path.parent.iterdir() if p.suffix == ".part"] == []
    files.write_wav(tmp_path / "loud.wav", np.array([2.0, -2.0, 0.5]), 16000)
    np.testing.assert_allclose(soundfile.read(tmp_path / "loud.wav")[0], [1, -1, 0.5], atol=1e-4)


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.wav"
    files.write_wav(path, tone(16000), 16000)
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))  # the kernel refuses more, as a full disk does
    try:
        refused(path, "cannot be written", action=lambda path: files.write_wav(path, tone(8000), 16000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.wav"]


def test_bad_audio_is_not_written(tmp_path):
    for x in (np.array([0.0, np.inf]), np.zeros(0), np.zeros((2, 5))):
        refused(tmp_path / "a.wav", "not written", action=lambda path, x=x: files.write_wav(path, x, 16000))
    refused(tmp_path, "folder", action=lambda path: files.write_wav(path, np.zeros(4), 16000))
    (tmp_path / "file").touch()
    refused(
        tmp_path / "file" / "a.wav",
        "cannot be written",
        action=lambda path: files.write_wav(path, np.zeros(4), 16000),
    )
    assert os.listdir(tmp_path) == ["file"]
