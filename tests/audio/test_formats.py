"""Formats that are written: samples, lengths and rates, through a transfer that changes nothing."""

import re

import numpy as np
import pytest
import soundfile
import soxr

from retimbre.audio import formats
from retimbre.audio.files import MAX_RATE, read_mono
from retimbre.errors import RetimbreError
from retimbre.systems.streaming import transfer_file
from tests.fuzz.cases import Same
from tests.toys import ROOT
from tests.toys.models import melody


def written(folder, ending, rate, subtype="PCM_16", channels=1):
    """Audio and the file that was made of it."""
    x = melody(1.3 if rate < 100_000 else 0.2, rate)
    soundfile.write(folder / "in.wav", np.stack([x] * channels, 1), rate, subtype)
    transfer_file(Same(), folder / "in.wav", folder / f"out.{ending}", "guitar")
    return x, folder / f"out.{ending}"


@pytest.mark.parametrize(
    ("ending", "rate", "kept"),
    [
        ("wav", 768000, 768000),
        ("flac", 22050, 22050),
        ("FLAC", 768000, 384000),
        ("ogg", 8000, 8000),
        ("ogg", 44100, 44100),
        ("ogg", 384000, 192000),
        ("opus", 16000, 16000),
        ("opus", 44100, 48000),
        ("opus", 96000, 48000),
        ("mp3", 1000, 8000),
        ("mp3", 44100, 44100),
        ("mp3", 96000, 48000),
    ],
)
def test_every_format_keeps_the_length_and_what_sounds(tmp_path, ending, rate, kept):
    x, path = written(tmp_path, ending, rate)
    info, (y, _) = soundfile.info(path), soundfile.read(path)
    assert (info.samplerate, info.frames, info.channels) == (kept, -(-len(x) * kept // rate), 1)
    low = min(rate, 8000)  # the system hears 16 kHz, and codecs leave out what lies high
    a, b = soxr.resample(x, rate, low), soxr.resample(y, kept, low)
    assert np.corrcoef(a[: len(b)], b[: len(a)])[0, 1] > 0.99


@pytest.mark.parametrize(
    ("ending", "given", "subtype"),
    [("flac", "PCM_16", "PCM_16"), ("flac", "PCM_24", "PCM_24"), ("flac", "FLOAT", "PCM_24")]
    + [("wav", "FLOAT", "FLOAT"), ("ogg", "FLOAT", "VORBIS"), ("opus", "PCM_16", "OPUS")],
)
def test_samples_are_as_precise_as_the_format_allows(tmp_path, ending, given, subtype):
    assert soundfile.info(written(tmp_path, ending, 16000, given)[1]).subtype == subtype


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_equal_audio_gives_equal_bytes(tmp_path, ending):
    (tmp_path / "again").mkdir()
    first, again = (written(folder, ending, 44100)[1] for folder in (tmp_path, tmp_path / "again"))
    assert first.read_bytes() == again.read_bytes()


def test_what_a_wav_cannot_hold_becomes_an_rf64(tmp_path, monkeypatch):
    _, path = written(tmp_path, "wav", 16000)
    plain = read_mono(path, 16000)
    monkeypatch.setattr(formats, "LARGEST_WAV", 2 * 20800)
    written(tmp_path, "wav", 16000)
    assert soundfile.info(path).format == "WAV"
    written(tmp_path, "wav", 16000, channels=2)
    assert soundfile.info(path).format == "RF64"
    np.testing.assert_allclose(read_mono(path, 16000), plain, atol=1e-4)


def test_the_page_has_these_formats_and_their_highest_rates():
    page = (ROOT / "docs/transfer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\.(\w+)` \|.*\| ([\d,]+) \| (.*) \|$", page, re.MULTILINE)
    assert [ending for ending, _, _ in rows] == list(formats.FORMATS)
    for ending, channels, rates in rows:
        known = formats.FORMATS[ending]
        highest = max(known.rates, default=known.highest_hz)
        assert f"{known.channels:,}" == channels and (f"{highest:,}" in rates or highest == MAX_RATE)


@pytest.mark.parametrize(("ending", "most"), [("mp3", 2), ("flac", 8), ("opus", 9)])
def test_as_many_channels_as_the_format_holds(tmp_path, ending, most):
    assert soundfile.info(written(tmp_path, ending, 48000, channels=most)[1]).channels == most
    if most == formats.FORMATS[ending].channels:
        words = (
            rf"in.wav has {most + 1} channels, and \.{ending} holds {most}: give another format, or --mono"
        )
        with pytest.raises(RetimbreError, match=words):
            written(tmp_path, ending, 48000, channels=most + 1)
