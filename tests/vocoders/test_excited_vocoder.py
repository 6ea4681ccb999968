"""The vocoder that hears the inverter's waveform: phases, chunks, and what a short training is worth."""

import numpy as np
import pytest
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.metrics.spectral import paired_lsd
from retimbre.nn.wavenet.network import WaveNetConfig
from retimbre.training.devices import make_fabric
from retimbre.vocoders.base import Request
from retimbre.vocoders.excited.network import MARGIN, ExcitedWaveNet
from retimbre.vocoders.excited.train import Examples, ExcitedTrainer, crops_of, log_spectral_distance
from retimbre.vocoders.excited.vocoder import ExcitedVocoder, align
from retimbre.vocoders.params import Rendering, Residual
from tests.toys.vocoders import vocoder_params

RATE = 16000
FEATURES = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)


def tones(phase: float, seconds: float = 1.5) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (
        0.1 * np.exp(-t) * sum(np.sin(2 * np.pi * 220 * k * t + k * phase) / k for k in range(1, 8))
    ).astype(np.float32)


class FixedWaveform:
    """In the place of the inverter: the same waveform whatever is asked for."""

    network = None

    def __init__(self, audio: np.ndarray):
        self.audio = audio

    def griffin_lim(self, spectrum_db, length, iterations=None, before=None):
        return self.audio[:length]


SIZES = WaveNetConfig(
    84, 256, 2, layers=3, residual_channels=8, skip_channels=8, input="scalar", output="mol", mixtures=2
)


def vocoder(
    excitation: np.ndarray, temperature: float, trained: bool = True, share: float = 1.0
) -> ExcitedVocoder:
    torch.manual_seed(0)
    network = ExcitedWaveNet(SIZES)
    if trained:
        torch.nn.init.normal_(network.head_output.weight, 0, 0.2)
    config = {"features": FEATURES.to_dict(), "representation": "cqt", "domains": ["a", "b"], "top_db": 7.0}
    config["rms"] = 0.1
    config |= {"iterations": 8, "preemphasis": 0.85, "gain": 1.6}
    how = Rendering(wavenet_excited=Residual(temperature=temperature, share=share))
    return ExcitedVocoder(network, config, {"inverter": FixedWaveform(excitation)}, how)


def levels(length: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-50, 0, (84, length // 256 + 1)).astype(np.float32)


def test_the_target_is_the_recording_in_phase_with_the_excitation():
    recording, excitation = tones(0.0), tones(2.5)
    target = align(recording, excitation, FEATURES, 8)
    middle = slice(1024, -1024)
    # Or there would be nothing to do.
    assert abs(np.corrcoef(recording[middle], excitation[middle])[0, 1]) < 0.9
    assert np.corrcoef(target[middle], excitation[middle])[0, 1] > 0.99
    assert paired_lsd(target, recording, RATE) < 2  # and it sounds like the recording


def test_untrained_it_gives_back_its_excitation():
    excitation = tones(0.3)
    made = vocoder(excitation, 0, trained=False).synthesise(
        Request("wavenet_excited", levels(len(excitation)), len(excitation), "a")
    )
    assert np.array_equal(made, excitation)


@pytest.mark.parametrize("temperature", [0, 0.5, 1])
@pytest.mark.parametrize("share", [0.25, 1])
def test_a_chunk_goes_on_where_the_last_one_ended(temperature, share):
    excitation, made = tones(0.3), 9000
    model, level_db = vocoder(excitation, temperature, share=share), levels(len(excitation))
    whole = model.synthesise(Request("wavenet_excited", level_db, len(excitation), "b", seed=4))
    assert np.abs(whole - excitation).max() > 1e-3
    later = model.synthesise(
        Request("wavenet_excited", level_db, len(excitation), "b", seed=4, before=whole[:made])
    )
    assert np.abs(later - whole).max() < 1e-4
    assert np.array_equal(
        model.synthesise(Request("wavenet_excited", level_db, made, "b", seed=4, before=whole[:made])).shape,
        (made,),
    )


def test_a_share_of_the_residual_is_added():
    excitation = tones(0.3)
    wanted = Request("wavenet_excited", levels(len(excitation)), len(excitation), "a")
    quarter, whole = (
        vocoder(excitation, 0, share=share).synthesise(wanted) - excitation for share in (0.25, 1)
    )
    assert np.abs(whole).max() > 1e-3
    assert np.abs(4 * quarter - whole).max() < 1e-5


def test_temperature_is_what_differs_between_seeds():
    excitation = tones(0.3)
    level_db = levels(len(excitation))

    def spread(temperature: float) -> float:
        a, b = (
            vocoder(excitation, temperature).synthesise(
                Request("wavenet_excited", level_db, len(excitation), "a", seed=s)
            )
            for s in (1, 2)
        )
        return float(np.abs(a - b).mean())

    assert spread(0) == 0
    assert 0 < spread(0.2) < spread(1)


def examples(count: int = 6, frames: int = 20) -> Examples:
    """Targets that are their excitations half as loud: what a network can learn in seconds."""
    rng = np.random.default_rng(0)
    excitation = 0.1 * rng.standard_normal((count, frames * 256)).astype(np.float32)
    excitation = np.apply_along_axis(np.convolve, 1, excitation, np.hanning(9) / 2, mode="same").astype(
        np.float32
    )
    return Examples(
        0.5 * excitation, excitation, np.zeros((count, 84, frames + 1), np.float32), np.arange(count) % 2
    )


def test_crops_are_aligned_and_depend_on_the_step_alone():
    given = examples()
    first, again, other = (crops_of(given, 8, 256, 3, 5, step) for step in (7, 7, 8))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(
        first[0], other[0]
    )
    samples, excitation, level_db, domain = first
    assert (
        samples.shape == (3, 2048)
        and excitation.shape == (3, 2048 + 2 * MARGIN)
        and level_db.shape == (3, 84, 9)
        and domain.shape == (3,)
    )
    assert torch.equal(samples, 0.5 * excitation[:, MARGIN:-MARGIN])


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 6), (2, 130)])
def test_training_learns_to_sample_and_to_be_right_without(batch_size, steps):
    torch.manual_seed(0)
    network = ExcitedWaveNet(SIZES)
    given = examples()
    p = vocoder_params(excited={"steps": steps, "learning_rate": 1e-2, "lambda_spectral": 0.5}).excited
    trainer = ExcitedTrainer(network, p, make_fabric("cpu"))
    history: dict[str, list[float]] = {}
    for step in range(steps):
        for name, value in trainer.step(*crops_of(given, 4, 256, batch_size, 1, step), step).items():
            history.setdefault(name, []).append(float(value))
    bits, distance, before = (
        np.array(history[f"excited/{name}"])
        for name in ("nll_bits", "spectral_db", "spectral_db_of_excitation")
    )
    # One crop at a time learns both in turns.
    assert len(bits) == len(distance) == (steps if batch_size == 2 else steps // 2)
    assert distance[0] == pytest.approx(before[0], rel=1e-3)  # it begins as the excitation
    if steps > 100:
        assert bits[-5:].mean() < bits[:5].mean() - 1
        assert distance[-5:].mean() < 0.8 * before[-5:].mean()


def test_log_spectra_ignore_phase_and_know_loudness():
    a = 0.1 * torch.randn(1, 8192, generator=torch.Generator().manual_seed(0))
    assert float(log_spectral_distance(a, -a)) == 0
    assert float(log_spectral_distance(a, 0.5 * a)) == pytest.approx(6.02, abs=0.05)
    short = a[:, :100]  # shorter than every window
    assert float(log_spectral_distance(short, 0.5 * short)) == pytest.approx(6.02, abs=0.05)
