"""Files whose headers do not tell what is in them: decoded to their end, or what was used is said."""

import io
import os
import struct
import threading

import numpy as np
import pytest
import soundfile

from retimbre.audio import containers, files
from retimbre.errors import RetimbreError

RATE = 44100


def tone(seconds: float, hz: float = 440.0, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * hz * t)] * channels, 1)


def encoded(kind: str, audio: np.ndarray, rate: int = RATE, **more) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format=kind, **more)
    return buffer.getvalue()


def length_s(path, data: bytes) -> float:
    """Seconds that are found in a file, the same by every way to read it."""
    path.write_bytes(data)
    found = files.survey(path)
    whole = files.read_mono(path, 16000)
    assert len(whole) == pytest.approx(found.duration_s * 16000, abs=2)
    streamed = np.concatenate(list(files.StreamReader(path, 16000)))
    np.testing.assert_allclose(streamed, whole, atol=1e-5)
    start = len(whole) // 2 + 1
    np.testing.assert_allclose(files.read_mono(path, 16000, start), whole[start:], atol=2e-3)
    return found.duration_s


def without_table(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which holds the table of contents."""
    part = containers._mp3(mp3)[0]
    assert part == containers.Part(0, len(mp3))
    return mp3[containers._frame(mp3, 0).length :]


def test_a_flac_of_unknown_length(tmp_path):
    data = bytearray(encoded("FLAC", tone(3)))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert length_s(tmp_path / "a.flac", bytes(data)) == 3
    assert files.survey(tmp_path / "a.flac").notes == []


@pytest.mark.parametrize(
    "kind", ["MP3", "FLAC", "OGG", "WAV", "WAVEX", "AIFF", "SVX", "AU", "CAF", "RF64", "W64"]
)
@pytest.mark.parametrize("tags", [b"", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)])
def test_files_joined_by_cat_are_all_heard(tmp_path, kind, tags):
    if tags and kind != "MP3":
        pytest.skip("only MP3s carry them between")
    one, two = encoded(kind, tone(2)), encoded(kind, tone(3, 660))
    assert length_s(tmp_path / "a", one + tags + two) == pytest.approx(5, abs=1e-3)
    x = files.read_mono(tmp_path / "a", 16000)
    assert np.abs(x[-16000:]).max() > 0.2
    assert length_s(tmp_path / "a", one + tags + two + tags + one) == pytest.approx(7, abs=1e-3)


def test_joined_files_of_other_rates_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "a.mp3").write_bytes(encoded("MP3", tone(2)) + encoded("MP3", tone(2, channels=2)))
    with pytest.raises(RetimbreError, match=r"changes from 44100 Hz and 1 channel.*cut it where they change"):
        files.survey(tmp_path / "a.mp3")


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [44100, 16000, 8000])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_without_a_table_of_contents_is_not_measured_by_its_first_frame(
    tmp_path, mode, rate, channels
):
    quiet_then_loud = np.concatenate(
        [np.zeros((2 * rate, channels)), np.random.default_rng(0).normal(0, 0.1, (4 * rate, channels))]
    )
    mp3 = encoded("MP3", quiet_then_loud, rate, bitrate_mode=mode, compression_level=0.5)
    data = without_table(mp3) if mode == "VARIABLE" else mp3
    assert length_s(tmp_path / "a.mp3", data) == pytest.approx(6, abs=0.2)
    joined = length_s(tmp_path / "b.mp3", data + data)
    assert joined == pytest.approx(12, abs=0.4)


def test_a_cut_off_mp3_is_as_long_as_what_is_there(tmp_path):
    data = encoded("MP3", tone(6))
    assert length_s(tmp_path / "a.mp3", data[: len(data) // 2]) == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("outer", [0, 0xFFFFFFFF, None])
@pytest.mark.parametrize("inner", [0, 0xFFFFFFFF, 2 * RATE, 0x7FFFFFF0])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_whose_sizes_were_never_written(tmp_path, outer, inner, subtype):
    data = bytearray(encoded("WAV", tone(3), subtype=subtype))
    place = data.find(b"data") + 4
    if outer is not None:
        data[4:8] = struct.pack("<I", outer)
    data[place : place + 4] = struct.pack("<I", inner)
    assert length_s(tmp_path / "a.wav", bytes(data)) == pytest.approx(3, abs=0.001)


def test_chunks_behind_the_audio_are_no_audio(tmp_path):
    data = encoded("WAV", tone(1)) + b"LIST" + struct.pack("<I", 5000) + bytes(5000)
    for outer in (len(data) - 8, 0, 0xFFFFFFFF):
        changed = data[:4] + struct.pack("<I", outer) + data[8:]
        assert length_s(tmp_path / "a.wav", changed) == 1


def test_an_aiff_whose_sizes_were_never_written(tmp_path):
    data = bytearray(encoded("AIFF", tone(3)))
    common, sound = data.find(b"COMM") + 8, data.find(b"SSND") + 4
    data[4:8] = data[sound : sound + 4] = data[common + 2 : common + 6] = bytes(4)
    assert length_s(tmp_path / "a.aiff", bytes(data)) == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("size", [None, -1])
def test_a_caf_that_was_cut_off_or_streamed(tmp_path, size):
    data = bytearray(encoded("CAF", tone(3)))
    place = data.find(b"data") + 4
    if size is not None:
        data[place : place + 8] = struct.pack(">q", size)
        assert length_s(tmp_path / "a.caf", bytes(data)) == pytest.approx(3, abs=1e-3)
    assert length_s(tmp_path / "a.caf", bytes(data[: len(data) * 2 // 3])) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    "kind", ["WAV", "AIFF", "AU", "W64", "RF64", "VOC", "OGG", "AVR", "MAT4", "MAT5", "PVF", "SDS"]
)
def test_what_was_cut_off_is_read_as_far_as_it_goes(tmp_path, kind):
    audio = np.random.default_rng(0).normal(0, 0.1, (6 * RATE, 1))
    data = encoded(kind, audio)
    assert length_s(tmp_path / "a", data[: len(data) // 2]) == pytest.approx(3, abs=0.5)


def test_a_flac_that_breaks_off_says_where(tmp_path):
    data = encoded("FLAC", np.random.default_rng(0).normal(0, 0.1, (6 * RATE, 1)))
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    found = files.survey(tmp_path / "a.flac")
    (note,) = found.notes
    assert 2.5 < found.duration_s <= 3.01 and f"breaks off after {found.duration_s:.1f} s" in note
    x = np.concatenate(list(files.StreamReader(tmp_path / "a.flac", RATE)))
    assert len(x) == found.frames
    with pytest.raises(RetimbreError, match="breaks off while it is decoded"):
        files.read_mono(tmp_path / "a.flac", RATE)


def test_a_header_that_states_too_much_is_named(tmp_path):
    data = bytearray(encoded("FLAC", tone(3)))
    data[22:26] = struct.pack(">I", 30 * RATE)
    assert length_s(tmp_path / "a.flac", bytes(data)) == 3
    assert files.survey(tmp_path / "a.flac").notes == ["states 30.0 s in its header, 3.0 s are there"]


def test_a_stretch_of_a_file_lacks_nothing(tmp_path):
    (tmp_path / "a.flac").write_bytes(encoded("FLAC", tone(6)))
    for first, frames in ((0, RATE), (RATE, 2 * RATE), (4 * RATE, None)):
        found = files.survey(tmp_path / "a.flac", first, frames)
        assert found.notes == [] and found.frames == (frames or 2 * RATE)
    assert files.survey(tmp_path / "a.flac", 5 * RATE, 4 * RATE).frames == RATE


def test_a_pipe_is_called_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RetimbreError, match="is a pipe or device.*write it to a file first"):
        files.survey(tmp_path / "pipe")
    read, write = os.pipe()
    data = encoded("WAV", tone(0.1))
    thread = threading.Thread(target=lambda: (os.write(write, data), os.close(write)))
    thread.start()
    with pytest.raises(RetimbreError, match="is a pipe"):
        files.survey(f"/dev/fd/{read}")
    os.close(read)
    thread.join()


@pytest.mark.parametrize("name", [b"caf\xe9.wav", "日本語 ?%20#.wav".encode(), b"-x.wav", b"a\nb.wav"])
def test_names_need_not_be_utf_8(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(encoded("WAV", tone(1)))
    assert files.survey(path).duration_s == 1 and len(files.read_mono(path, 16000)) == 16000
    files.write_wav(path, tone(2)[:, 0], RATE)
    assert files.survey(path).duration_s == 2 and len(os.listdir(tmp_path)) == 1


def test_a_part_of_a_file_reads_as_a_file(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    with containers.Part(10, 50, b"head").open(tmp_path / "a") as file:
        expected = b"head" + bytes(range(10, 50))
        assert file.read() == expected
        for at in (0, 2, 4, 30, 44, 60):
            file.seek(at)
            assert file.read(7) == expected[at : at + 7]
        file.seek(-3, os.SEEK_END)
        assert file.read() == expected[-3:]
