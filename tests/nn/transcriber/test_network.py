"""basic-pitch in torch: what onnxruntime says, whatever the length, with gradients."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soxr
import torch

from retimbre.nn.transcriber import network
from tests.nn.transcriber.conftest import RATE

WINDOW = 43844  # samples, the fixed input of the published network
OUTPUTS = [f"StatefulPartitionedCall:{k}" for k in range(3)]


@pytest.fixture(scope="module")
def transcriber():
    return network.pretrained()


@pytest.fixture(scope="module")
def windows(music):
    """(9, WINDOW): three of each instrument, among them the beginning and the rest."""
    loud = (soxr.resample(audio, RATE, network.SAMPLE_RATE) for audio in music.values())
    return np.stack([x[k : k + WINDOW] / np.abs(x).max() * 0.9 for x in loud for k in (0, 110000, 160000)])


def test_it_says_what_onnxruntime_says(transcriber, windows):
    package = Path(importlib.util.find_spec("basic_pitch").submodule_search_locations[0])
    session = onnxruntime.InferenceSession(str(package / "saved_models/icassp_2022/nmp.onnx"))
    expected = session.run(OUTPUTS, {session.get_inputs()[0].name: windows[..., None]})
    for name, ours, theirs in zip(
        network.Posteriors._fields, transcriber(torch.from_numpy(windows)), expected, strict=True
    ):
        assert theirs.max() > 0.5, name
        # Theirs hears the rounding of single precision in empty bins.
        np.testing.assert_allclose(ours.numpy(), theirs.transpose(0, 2, 1), atol=1e-4, err_msg=name)


def test_a_window_of_zeros_is_no_division_by_zero(transcriber):
    assert all(torch.isfinite(p).all() for p in transcriber(torch.zeros(1, WINDOW)))


@pytest.mark.parametrize("samples", [33024, WINDOW, WINDOW + 1, 50001])
def test_any_length_has_a_frame_every_256_samples(transcriber, samples):
    contours, notes, onsets = transcriber(torch.randn(2, samples))
    frames = samples // 256 + 1
    assert contours.shape == (2, 264, frames)
    assert notes.shape == onsets.shape == (2, 88, frames)


def test_gradients_reach_the_audio(transcriber, windows):
    audio = torch.from_numpy(windows[:2]).requires_grad_()
    sum(p.sum() for p in transcriber(audio)).backward()
    assert torch.isfinite(audio.grad).all()
    assert (audio.grad.abs().amax(1) > 0).all()


def test_weights_are_small_and_travel_with_their_licence():
    folder = Path(network.__file__).parent
    assert (folder / "basic_pitch.safetensors").stat().st_size < 250_000
    assert "Apache License" in (folder / "LICENSE.basic-pitch").read_text()
