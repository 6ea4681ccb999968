import copy

import numpy as np
import pytest
import torch

from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.preparation.caching import cache_features
from retimbre.datasets.preparation.params import Features
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from retimbre.systems import catalogue
from retimbre.systems.ddsp import train as ddsp
from retimbre.systems.ddsp.hearing import UNHEARD_HZ, hear, line_share
from retimbre.systems.ddsp.network import Decoder, DecoderConfig
from retimbre.systems.ddsp.params import Params
from retimbre.systems.ddsp.synthesiser import exp_sigmoid, filtered_noise, harmonic, phase
from retimbre.systems.ddsp.system import System
from tests.toys.features import run_of
from tests.toys.project import smoke

RATE, HOP = 16000, 256
SHAPE = DecoderConfig(20, 9, 32, 1, HOP, RATE)


def notes(keys: list[int], seconds: float = 0.5, slope: float = 1.0) -> np.ndarray:
    """Notes one after another, (N,) float32 at RMS 0.1."""
    t = np.arange(int(seconds * RATE)) / RATE
    made = []
    for key in keys:
        hz = 440 * 2 ** ((key - 69) / 12)
        tone = sum(n**-slope * np.sin(2 * np.pi * n * hz * t) for n in range(1, int(7000 / hz)))
        made.append(tone * np.exp(-2 * t) * np.minimum(1, t[::-1] / 0.02))
    x = np.concatenate(made)
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


TUNE, OTHER = [60, 64, 67, 72, 65, 62], [67, 62, 69, 60, 71, 64]
CHORDS = sum(notes([key + up for key in TUNE]) for up in (0, 4, 7)) / 3


def pcm(audio: np.ndarray) -> np.ndarray:
    """Audio in 16 bits."""
    return np.rint(32768 * audio).clip(-32768, 32767).astype(np.int16)


def ddsp_params(**changes) -> Params:
    return Params.model_validate(smoke()["ddsp"] | changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Tunes of ``dark`` and ``bright``."""
    folder = tmp_path_factory.mktemp("data")
    with AudioWriter(folder / "resampled", RATE, 0.1, 100) as writer:
        for domain, slope in (("dark", 2.0), ("bright", 0.5)):
            for number, keys in enumerate((TUNE, OTHER)):
                writer.add(pcm(notes(keys, slope=slope)), domain, "train", f"tune{number}", "")
    p, machine = Features(**smoke()["features"]), Machine(jobs=1, joblib_backend="threading")
    cache_features(folder / "resampled", folder / "features", p, 100, machine)
    return Data(folder / "resampled", folder / "features")


# ---------------------------------------------------------------------------------- synthesis


def test_harmonics_are_the_sines_that_they_should_be():
    frames, f0 = 9, 3000.0
    shares = torch.tensor([1.0, 3.0, 5.0]).expand(1, frames, 3)
    y = harmonic(torch.full((1, frames), f0), torch.full((1, frames), 0.4), shares, HOP, RATE)[0]
    t = (np.arange(1, len(y) + 1)) / RATE
    expected = 0.4 * (0.25 * np.sin(2 * np.pi * f0 * t) + 0.75 * np.sin(4 * np.pi * f0 * t))
    assert len(y) == (frames - 1) * HOP and np.allclose(y, expected, atol=1e-4), "9 kHz is left out"


def test_mixed_precision_leaves_the_sines_alone():
    curves = torch.full((1, 9), 300.0), torch.linspace(0, 1, 9)[None], torch.ones(1, 9, 20)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = harmonic(*curves, HOP, RATE)
    assert torch.equal(mixed, harmonic(*curves, HOP, RATE))


def test_amplitude_and_pitch_glide_from_frame_to_frame():
    f0 = torch.linspace(200, 400, 40)[None]
    amplitude = torch.linspace(0, 1, 40)[None]
    y = harmonic(f0, amplitude, torch.ones(1, 40, 1), HOP, RATE)[0].numpy()
    peaks = np.abs(y.reshape(-1, HOP)).max(1)
    assert np.all(np.diff(peaks[2:]) > 0) and peaks[-1] == pytest.approx(1, abs=0.03)
    turned = np.unwrap(phase(f0, HOP, RATE).double().flatten().numpy())
    hz = np.interp(np.arange(1, len(turned)) / HOP, np.arange(40), f0[0].numpy())
    assert np.allclose(np.diff(turned) * RATE / (2 * np.pi), hz, rtol=1e-3)


def test_noise_has_the_bands_that_it_is_given():
    bands = torch.zeros(1, 65, 9)
    bands[..., 2:4] = 1.0  # 2 and 3 of 0 to 8 kHz
    noise = 2 * torch.rand(1, 64 * HOP, generator=torch.Generator().manual_seed(0)) - 1
    y = filtered_noise(bands, noise, HOP)[0]
    power = torch.fft.rfft(y).abs().square()
    inside = power[len(power) * 3 // 16 : len(power) * 7 // 16].sum()
    assert y.shape == (64 * HOP,) and inside > 0.75 * power.sum()
    even = filtered_noise(torch.ones(1, 65, 9), noise, HOP)
    assert torch.allclose(even, noise, atol=1e-5), "all bands open: the noise itself, not delayed"


def test_controls_are_positive_and_as_published():
    x = torch.tensor([-50.0, 0.0, 50.0])
    assert torch.allclose(exp_sigmoid(x), torch.tensor([1e-7, 2 * 0.5 ** float(np.log(10)), 2.0]), rtol=1e-4)


# ---------------------------------------------------------------------------------- hearing


def test_a_tune_is_heard_and_told_from_chords():
    tune = notes(TUNE)
    heard = hear(tune, RATE, HOP)
    keys = 69 + 12 * np.log2(heard.f0_hz / 440)
    middle = [keys[int((0.5 * i + 0.25) * RATE / HOP)] for i in range(len(TUNE))]
    assert np.abs(np.array(middle) - TUNE).max() < 0.5 and len(keys) == len(tune) // HOP + 1
    shares = [line_share(x, RATE, HOP, hear(x, RATE, HOP)) for x in (tune, CHORDS, 0 * tune)]
    assert shares[0] > 0.9 and shares[1] < 0.75 and shares[2] == 0
    assert heard.loudness_db[2] > heard.loudness_db[28], "a note decays"
    silent = hear(np.zeros(4000, np.float32), RATE, HOP)
    assert np.all(silent.f0_hz == UNHEARD_HZ)


# ---------------------------------------------------------------------------------- training


def test_a_decoder_overfits_one_crop(data: Data):
    p = ddsp_params(steps=60, learning_rate=2e-2, crop_frames=24, fft_sizes=[1024, 256])
    crops = ddsp.Lines(data.audio, "dark", HOP, p, 0, 0)
    torch.manual_seed(0)
    trainer = ddsp.DdspTrainer(torch.nn.ModuleDict({"dark": Decoder(SHAPE)}), p, run_of())
    rows = [trainer.step(crops.batch(0), step) for step in range(p.steps)]
    losses = [float(row["loss/magnitude"] + row["loss/log_magnitude"]) for row in rows]
    assert losses[-1] < 0.4 * losses[0]


def test_a_training_goes_on_from_its_state_with_the_same_bits(data: Data):
    p = ddsp_params()
    crops = [ddsp.Lines(data.audio, domain, HOP, p, 0, n) for n, domain in enumerate(data.audio.domains)]

    def make() -> ddsp.DdspTrainer:
        torch.manual_seed(0)
        return ddsp.DdspTrainer(torch.nn.ModuleDict({d: Decoder(SHAPE) for d in ("a", "b")}), p, run_of())

    whole, first, second = make(), make(), make()
    for step in range(4):
        batches = [c.batch(step) for c in crops]
        whole.step(*batches, step)
        if step == 2:
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        (first if step < 2 else second).step(*batches, step)
    ends = (t.network.state_dict().values() for t in (whole, second))
    assert all(torch.equal(x, y) for x, y in zip(*ends, strict=True))


def test_the_trained_system_keeps_the_tune_whatever_plays(data: Data, tmp_path):
    p = ddsp_params(steps=10, learning_rate=1e-2, fft_sizes=[512])
    model, history = ddsp.fit(data, p, run_of())
    assert {"loss/magnitude", "loss/log_magnitude"} <= set(history[-1])
    catalogue.store("ddsp", p, model, tmp_path / "ddsp")
    loaded = catalogue.load("ddsp", tmp_path)
    assert isinstance(loaded, System) and loaded.targets == ["dark", "bright"] and loaded.sources is None
    source = notes([62, 67, 60, 69, 64], slope=1.3)[:-100]
    made = {to: loaded.transfer(source, to, 1) for to in loaded.targets}
    assert np.array_equal(made["dark"], model.transfer(source, "dark", 1))
    assert len(made["dark"]) == len(source) and not np.allclose(made["dark"], made["bright"], atol=1e-3)
    heard, wanted = (hear(x, RATE, HOP) for x in (made["dark"], source))
    cents = 1200 * np.abs(np.log2(heard.f0_hz / wanted.f0_hz))
    assert (cents < 50).mean() > 0.9
    with pytest.raises(RetimbreError, match="'harp' is no instrument of this system: choose dark, bright"):
        loaded.transfer(source, "harp")


def test_what_is_no_single_line_is_left_out(tmp_path):
    with AudioWriter(tmp_path, RATE, 0.1, 100) as writer:
        for domain, recordings in (("mixed", (CHORDS, notes(TUNE))), ("chordal", (CHORDS,))):
            for number, x in enumerate(recordings):
                writer.add(pcm(x), domain, "train", f"piece{number}", "")
    audio, p = Data(tmp_path).audio, ddsp_params()
    assert list(ddsp.Lines(audio, "mixed", HOP, p, 0, 0).heard) == ["train-mixed-00001"]
    with pytest.raises(RetimbreError, match="no training recording of chordal is a single line"):
        ddsp.Lines(audio, "chordal", HOP, p, 0, 0)
