"""Odd recordings, arrays and events through a transfer: heard rightly, or refused in one sentence."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr

from retimbre import errors
from retimbre.audio.loudness import true_peak
from retimbre.errors import RetimbreError
from retimbre.systems import streaming
from tests.toys import ROOT
from tests.toys.disks import full_disk

RATE = 16000


class Echo:
    """System that returns what it hears."""

    name, rms, targets, sources, slow = "echo", 0.1, ["guitar"], None, False
    sample_rate = RATE

    def __init__(self, wait_s: float = 0.0, spike: float = 0.0):
        self.heard: list[np.ndarray] = []
        self.wait_s, self.spike = wait_s, spike

    def transfer(self, audio: np.ndarray, to: str, seed: int = 0) -> np.ndarray:
        self.heard.append(audio)
        time.sleep(self.wait_s)
        made = audio.copy()
        if self.spike:
            made[len(made) // 2] = self.spike
        return made


def tune(seconds: float = 4.0, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    """Notes that begin and end softly, float32 (N,), at a root mean square of ``level``."""
    t = np.arange(round(seconds * rate)) / rate
    place = t % 0.5
    hz = 220 * 2 ** (
        np.random.default_rng(0).integers(0, 24, len(t) * 2 // rate + 1)[(t // 0.5).astype(int)] / 12
    )
    x = np.sin(2 * np.pi * hz * place) * np.minimum(1, 40 * np.minimum(place, 0.5 - place))
    return (level * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def written(tmp_path, audio, rate=44100, name="in.wav", system=None, **more):
    """A file through a system: (output, its info, what was found)."""
    soundfile.write(tmp_path / name, audio, rate, **more)
    found, _ = streaming.transfer_file(system or Echo(), tmp_path / name, tmp_path / "out.wav", "guitar")
    return soundfile.read(tmp_path / "out.wav")[0], soundfile.info(tmp_path / "out.wav"), found


def test_a_test_piece_comes_out_as_it_is():
    x = tune()
    system = Echo()
    y = streaming.transfer(system, x, RATE, "guitar")
    assert np.array_equal(system.heard[0], x)
    np.testing.assert_allclose(y, x, atol=1e-6)


@pytest.mark.parametrize("offset", [0.05, 0.3, -0.3])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_offset_changes_neither_what_the_system_hears_nor_the_loudness(tmp_path, offset, channels):
    x = tune(6.0, 44100, 0.02)
    (tmp_path / "clean").mkdir()
    heard = []
    for folder, audio in ((tmp_path / "clean", x), (tmp_path, x + offset)):
        system = Echo()
        y, _, found = written(folder, np.stack([audio] * channels, 1), system=system, subtype="FLOAT")
        heard.append((np.concatenate(system.heard), y))
    (clean, clean_out), (odd, odd_out) = heard
    assert np.sqrt(np.mean((odd - clean) ** 2)) < 0.01 * np.sqrt(np.mean(clean**2))
    assert np.sqrt(np.mean((odd_out - clean_out) ** 2)) < 0.02 * np.sqrt(np.mean(clean_out**2))
    assert any("offset or rumble" in note for note in found.notes)


@pytest.mark.parametrize(("hz", "lost"), [(440, False), (10000, True)])
def test_what_the_system_cannot_hear_is_said(tmp_path, hz, lost):
    """A whistle above half the system's sample rate, as loud as the music, or a tone that it hears."""
    t = np.arange(4 * 44100) / 44100
    soundfile.write(tmp_path / "in.wav", tune(4.0, 44100) + 0.1414 * np.sin(2 * np.pi * hz * t), 44100)
    _, outcome = streaming.transfer_file(Echo(), tmp_path / "in.wav", tmp_path / "out.wav", "guitar")
    assert [note.split(":")[0] for note in outcome.notes] == lost * [
        "has 50% of its energy outside 0 to 8000 Hz, which is all that echo hears"
    ]


def test_long_pauses_do_not_make_the_music_louder_to_the_system():
    x = tune(4.0)
    system = Echo()
    streaming.transfer(system, np.concatenate([x, np.zeros(12 * RATE, np.float32), x]), RATE, "guitar")
    first = np.concatenate(system.heard)[: len(x)]
    assert np.sqrt(np.mean(first**2)) == pytest.approx(0.1, rel=0.03)


def heard_lufs(audio: np.ndarray, rate: int) -> float:
    """Loudness from two loudspeakers; mono plays from both."""
    both = audio if audio.ndim == 2 else np.stack([audio, audio], 1)
    return pyloudnorm.Meter(rate).integrated_loudness(both)


@pytest.mark.parametrize("case", ["opposite", "nearly opposite", "one silent", "wide", "equal"])
def test_stereo_is_as_loud_as_a_listener_hears_it(tmp_path, case):
    x, other = tune(6.0, 44100), tune(6.0, 44100)[::-1]
    audio = {
        "opposite": np.stack([x, -x], 1),
        "nearly opposite": np.stack([x, -0.98 * x], 1),
        "one silent": np.stack([0 * x, x], 1),
        "wide": np.stack([x + 0.3 * other, 0.3 * x + other], 1) * 0.7,
        "equal": np.stack([x, x], 1),
    }[case]
    y, _, found = written(tmp_path, audio, subtype="FLOAT")
    assert heard_lufs(y, 44100) == pytest.approx(heard_lufs(audio, 44100), abs=0.3)
    assert any("cancel" in note for note in found.notes) == ("opposite" in case)


@pytest.mark.parametrize("suffix", ["flac", "mp3", "wav"])
def test_the_output_is_as_long_as_what_is_there(tmp_path, suffix):
    x = np.random.default_rng(0).normal(0, 0.1, (6 * 44100, 1))
    soundfile.write(tmp_path / f"a.{suffix}", x, 44100)
    data = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) // 2])
    found, _ = streaming.transfer_file(Echo(), tmp_path / f"a.{suffix}", tmp_path / "out.wav", "guitar")
    y, _ = soundfile.read(tmp_path / "out.wav")
    assert len(y) == found.frames == pytest.approx(3 * 44100, abs=0.5 * 44100)
    assert np.sqrt(np.mean(y[-4410:] ** 2)) > 0.03, "no silence in place of what was not read"


@pytest.mark.parametrize(
    ("dtype", "full"), [("int8", 128), ("int16", 32768), ("int32", 2**31), ("float64", 1), ("float16", 1)]
)
def test_arrays_of_any_type_are_scaled_by_their_full_scale(dtype, full):
    x = tune(level=0.2)
    given = (x * full).astype(dtype) if full == 1 else np.round(x * full).astype(dtype)
    y = streaming.transfer(Echo(), given, RATE, "guitar")
    np.testing.assert_allclose(y, streaming.transfer(Echo(), given / full, RATE, "guitar"), atol=1e-4)


def test_unsigned_bytes_are_centred():
    x = tune(level=0.2)
    given = (np.round(x * 127) + 128).astype(np.uint8)
    y = streaming.transfer(Echo(), given, RATE, "guitar")
    assert np.sqrt(np.mean((y - x) ** 2)) < 0.02


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (np.zeros((2, RATE)), RATE, r"shape \(2, 16000\).*give audio.T"),
        (np.zeros((1, RATE)), RATE, r"shape \(1, 16000\).*give audio.T"),
        (np.zeros((3, 4, RATE)), RATE, r"shape \(3, 4, 16000\), and \(samples,\) or"),
        (np.float32(0.5), RATE, r"shape \(\)"),
        (np.zeros((RATE, 0)), RATE, r"shape \(16000, 0\)"),
        (np.zeros(RATE, bool), RATE, "type bool"),
        (np.zeros(RATE, complex), RATE, "type complex128"),
        (np.zeros(RATE, np.int64), RATE, "type int64"),
        (np.array(["a"] * RATE), RATE, "type <U1"),
        (None, RATE, "shape"),
        (np.full(RATE, np.nan), RATE, "not finite"),
        (np.full(RATE, 1e300), RATE, "not finite"),
        (np.zeros(0), RATE, "shorter than 0.1 s"),
        (np.zeros(RATE), RATE, "silent"),
        (np.full(RATE, 0.5), RATE, "silent"),
        (tune(), 0, "sample rate is 0"),
        (tune(), None, "sample rate is None"),
        (tune(), -16000, "sample rate is -16000"),
        (tune(), 16000.5, "sample rate is 16000.5"),
        (tune(), float("nan"), "sample rate is nan"),
        (tune(), float("inf"), "sample rate is inf"),
        (tune(), "16000", "sample rate is '16000'"),
        (tune(), True, "sample rate is True"),
    ],
)
def test_other_arrays_are_refused_with_what_is_wanted(audio, rate, words):
    with pytest.raises(RetimbreError, match=words) as caught:
        streaming.transfer(Echo(), audio, rate, "guitar")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_rates_may_be_numbers_of_any_kind():
    x = tune()
    for rate in (np.int32(RATE), 16000.0, np.float32(RATE)):
        assert len(streaming.transfer(Echo(), x, rate, "guitar")) == len(x)


@pytest.mark.parametrize(
    ("more", "subtype"),
    [
        ({"subtype": "PCM_16"}, "PCM_16"),
        ({"subtype": "PCM_U8"}, "PCM_16"),
        ({"subtype": "ULAW"}, "PCM_16"),
        ({"subtype": "PCM_24"}, "PCM_24"),
        ({"subtype": "PCM_32"}, "PCM_24"),
        ({"subtype": "FLOAT"}, "FLOAT"),
        ({"subtype": "DOUBLE"}, "FLOAT"),
        ({"name": "in.flac", "subtype": "PCM_24"}, "PCM_24"),
        ({"name": "in.ogg"}, "PCM_24"),
        ({"name": "in.mp3"}, "PCM_24"),
    ],
)
def test_the_output_is_as_precise_as_the_input(tmp_path, more, subtype):
    assert written(tmp_path, tune(2.0, 44100), **more)[1].subtype == subtype


def test_a_quiet_take_of_24_bits_keeps_its_precision(tmp_path):
    x = tune(4.0, RATE, 10 ** (-78 / 20))
    y, _, _ = written(tmp_path, x, RATE, subtype="PCM_24")
    assert 10 * np.log10(np.mean((y - x) ** 2) / np.mean(x**2)) < -50


def test_a_float_output_has_no_time_of_day_in_it(tmp_path):
    x = tune(2.0, 44100)
    written(tmp_path, x, subtype="FLOAT")
    first = (tmp_path / "out.wav").read_bytes()
    time.sleep(1.1)
    written(tmp_path, x, subtype="FLOAT")
    assert (tmp_path / "out.wav").read_bytes() == first


@pytest.mark.parametrize("rate", [8000, RATE, 22050, 44100, 48000])
@pytest.mark.parametrize("level", [0.5, 4.0])
def test_the_true_peak_stays_below_minus_1_dbfs(tmp_path, rate, level):
    """Also of an input of +12 dBFS, and of a click that a resampler overshoots at."""
    x = tune(3.0, rate, level)
    inputs = (x, np.stack([x, 0.5 * np.roll(x, 99)], 1))
    for system, given in itertools.product((Echo(), Echo(spike=1.0)), inputs):
        soundfile.write(tmp_path / "in.wav", given, rate, subtype="FLOAT")
        _, outcome = streaming.transfer_file(system, tmp_path / "in.wav", tmp_path / "out.wav", "guitar")
        y, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
        assert y.shape == given.shape
        peak = max(true_peak([y]), np.abs(soxr.resample(y, rate, 8 * rate, "VHQ")).max())
        assert peak < 10 ** (-1 / 20) and outcome.quieter_db >= 0
        assert np.abs(y).max() > 0.5


def test_an_hour_costs_no_more_memory_than_a_minute(tmp_path):
    """Address space that holds a minute holds four: of a stereo file with an offset, by every step."""
    code = f"""
import resource, sys
import numpy as np, soundfile
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.systems.test_odd_recordings import Echo, tune
from retimbre.systems import streaming
part = np.stack([tune(30.0, 44100) + np.float32(0.2)] * 2, 1)
peaks = []
for minutes in (1, 4):
    with soundfile.SoundFile("in.wav", "w", 44100, 2) as file:
        for _ in range(2 * minutes):
            file.write(part)
    class Forgetful(Echo):
        def transfer(self, audio, to, seed=0):
            return audio
    streaming.transfer_file(Forgetful(), Path("in.wav"), Path("out.wav"), "guitar")
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks)
assert peaks[1] < peaks[0] + 20, peaks
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_two_transfers_into_one_output_both_end_well_and_one_counts(tmp_path):
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        soundfile.write(tmp_path / f"{name}.wav", tune(seconds), RATE)
    lengths = []

    def run(name: str, wait_s: float) -> None:
        found, _ = streaming.transfer_file(
            Echo(wait_s), tmp_path / f"{name}.wav", tmp_path / "out.wav", "guitar"
        )
        lengths.append((found.frames, soundfile.info(tmp_path / "out.wav").frames))

    threads = [threading.Thread(target=run, args=args) for args in (("a", 0.2), ("b", 0.6))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [(RATE, RATE), (2 * RATE, 2 * RATE)], "each finds its own under the name when it ends"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav", "out.wav"]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU]
)
def test_a_signal_leaves_nothing_half_written(tmp_path, number):
    class Struck(Echo):
        def transfer(self, audio, to, seed=0):
            assert list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
            os.kill(os.getpid(), number)
            time.sleep(60)

    # What the tests were started with: ignored in a background job, pytest's own otherwise.
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    soundfile.write(tmp_path / "in.wav", tune(2.0), RATE)
    (tmp_path / "out.wav").write_bytes(b"from before")
    try:
        with pytest.raises(SystemExit) as stop:
            errors.run(
                lambda: streaming.transfer_file(Struck(), tmp_path / "in.wav", tmp_path / "out.wav", "guitar")
            )
    finally:
        signal.signal(number, before)
    assert stop.value.code == 128 + number
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav", "out.wav"]
    assert (tmp_path / "out.wav").read_bytes() == b"from before"


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, capsys):
    soundfile.write(tmp_path / "in.wav", tune(4.0), RATE)
    with full_disk(50_000), pytest.raises(SystemExit) as stop:
        errors.run(
            lambda: streaming.transfer_file(Echo(), tmp_path / "in.wav", tmp_path / "out.wav", "guitar")
        )
    assert stop.value.code == 1 and "error: " in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize(
    "name", ["a?b", "a%20b", "50%", "a;b &c", "日本語", "x" * 240, os.fsdecode(b"caf\xe9")]
)
def test_odd_names_of_files_and_folders(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    soundfile.write(os.fsencode(folder / "in.wav"), tune(1.0), RATE)
    target = folder / f"{name}.wav"
    streaming.transfer_file(Echo(), folder / "in.wav", target, "guitar")
    assert sorted(Path(folder).iterdir()) == sorted([folder / "in.wav", target])
