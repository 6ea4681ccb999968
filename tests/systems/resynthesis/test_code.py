"""Content that is made to vary: how far, and what is left alone."""

import numpy as np
import torch

from retimbre.nn.transcriber.content import CHANNELS, CONTOUR, LOUDNESS, NOTE, ONSET
from retimbre.systems.resynthesis.code import (
    evened,
    held,
    notes_heard,
    octaves_into,
    range_of,
    shifted,
    transposed,
    vary_levels,
    vary_pitch,
    vary_sustain,
)


def content(batch: int = 16, frames: int = 64) -> torch.Tensor:
    """A note that begins in frame 10 and falls by half every 12 frames, in every item."""
    x = torch.zeros(batch, CHANNELS, frames)
    note = 0.9 * 0.5 ** ((torch.arange(frames) - 10) / 12) * (torch.arange(frames) >= 10)
    x[:, NOTE.start + 40] = note
    x[:, ONSET.start + 40, 10] = 0.8
    x[:, LOUDNESS] = torch.linspace(0.5, -0.5, frames)
    return x


def test_an_envelope_falls_to_1_e_in_its_time() -> None:
    x = torch.zeros(2, 1, 50)
    x[:, 0, 5] = 1
    found = held(x, torch.tensor([10.0, 20.0]))
    assert torch.allclose(found[0, 0, 15], torch.tensor(np.exp(-1), dtype=torch.float32))
    assert torch.allclose(found[1, 0, 25], torch.tensor(np.exp(-1), dtype=torch.float32))
    assert not found[..., :5].any()


def test_notes_become_longer_and_shorter_and_begin_where_they_did() -> None:
    x, rng = content(64), np.random.default_rng(3)
    y = vary_sustain(x, rng, 1.0)
    late, begins = y[:, NOTE.start + 40, 40], y[:, NOTE.start + 40, 10]
    true = x[0, NOTE.start + 40, 40]
    assert (late > 1.2 * true).sum() > 8 and (late < 0.8 * true).sum() > 8 and (late == true).sum() > 8
    assert torch.allclose(begins, x[:, NOTE.start + 40, 10])
    assert torch.equal(y[:, ONSET], x[:, ONSET])
    assert not y[:, NOTE, :10].any(), "nothing is heard before it"


def test_nothing_changes_by_nothing_and_levels_stay_in_range() -> None:
    x, rng = content(), np.random.default_rng(3)
    assert torch.equal(vary_sustain(x, rng, 0.0), x) and torch.equal(vary_levels(x, rng, 0.0), x)
    y = vary_levels(x, rng, 0.25)
    loud = (x[:, NOTE] > 0.5).nonzero(as_tuple=True)
    assert 0.005 < float((y - x)[:, NOTE][loud].abs().mean()) < 0.2
    assert float((y - x)[:, LOUDNESS].mean((1, 2)).std()) > 0.01, "louder and softer as a whole"


def test_an_octave_up_is_twelve_keys_and_back() -> None:
    x = content(2)
    x[:, CONTOUR.start + 3 * 40 + 1] = 0.7
    y = transposed(x, 12)
    assert torch.equal(y[:, NOTE.start + 52], x[:, NOTE.start + 40]) and not y[:, NOTE.start + 40].any()
    assert (y[:, CONTOUR.start + 3 * 52 + 1] == 0.7).all() and torch.equal(y[:, LOUDNESS], x[:, LOUDNESS])
    assert torch.equal(transposed(y, -12), x)
    assert not transposed(x, 60)[:, NOTE].any(), "what leaves the keyboard is lost"
    ramp = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert shifted(ramp, -1, -9.0)[0, :, 0].tolist() == [2, 3, -9]
    assert shifted(ramp, 1)[0, :, 0].tolist() == [1, 1, 2], "the end is continued"


def test_crops_are_moved_by_semitones_content_and_spectra_alike() -> None:
    x, rng = content(200, 16), np.random.default_rng(3)
    spectrum = torch.full((200, 188, 16), -1.0)
    spectrum[:, 100] = 1.0
    y, z = x.clone(), spectrum.clone()
    vary_pitch(y, [z], rng, 0.3, 24)
    semitones = y[:, NOTE].amax(2).argmax(1) - 40
    assert torch.equal(z[..., 0].argmax(1) - 100, 2 * semitones)
    assert semitones.abs().max() == 6 and 0.2 < (semitones != 0).float().mean() < 0.4
    assert {*semitones.tolist()} == {*range(-6, 7)}
    vary_pitch(x, [spectrum], rng, 0.0, 24)
    assert torch.equal(x, content(200, 16))


def test_without_expression_a_bend_is_in_tune_and_a_swell_even() -> None:
    x = content(1)
    x[:, CONTOUR.start + 3 * 40 + 2, 10:] = 0.9  # a third of a semitone sharp
    y = evened(x, 0.0)
    assert int(y[0, CONTOUR, 30].argmax()) == 3 * 40 + 1 and int(x[0, CONTOUR, 30].argmax()) == 3 * 40 + 2
    assert torch.equal(evened(x, 1.0), x)
    x[:, LOUDNESS] = torch.sin(torch.arange(64) * 2 * torch.pi / 10)  # a tremolo of 6 Hz
    assert float(evened(x, 0.0)[:, LOUDNESS, 16:48].abs().max()) < 0.15
    assert torch.equal(evened(x, 0.5)[:, NOTE], x[:, NOTE])


def test_octaves_into_a_range() -> None:
    frames = np.zeros(88, int)
    frames[[20, 24, 27]] = 100, 50, 50
    assert range_of(frames) == (20, 27)
    frames[80] = 1  # half a percent: no part of the range
    assert range_of(frames) == (20, 27)
    assert octaves_into(frames, 30, 50) == 1 and octaves_into(frames, 15, 30) == 0
    assert octaves_into(frames, 0, 16) == -1 and octaves_into(np.zeros(88, int), 0, 10) == 0
    assert notes_heard(content(1)[0].T.numpy())[40] == 11, "frames above a half"
