"""Notes through NSynth's autoencoder: what counts as a kept pitch, and the table of two steps' training."""

from dataclasses import replace

import numpy as np
import yaml

from retimbre import params
from retimbre.systems.nsynth_autoencoder.params import Params
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from studies import note_reconstruction as study
from tests.toys import ROOT
from tests.toys.notes import toy_notes

RATE = 16000
NOTES = toy_notes(6, 16384, RATE)
SMALL = {
    "encoder_layers": 4, "encoder_channels": 8, "layers": 4, "layers_per_stack": 4, "residual_channels": 8,
    "skip_channels": 8, "steps": 2, "batch_size": 2,
}  # fmt: skip


def test_a_pitch_is_kept_within_50_cents() -> None:
    def line(made: np.ndarray, off: int) -> list[str]:
        return study.row("x", lambda n: made[n], NOTES.pitch + off, RATE)

    assert line(NOTES.audio, 0) == ["x", "100% (61% to 100%)", "100%"]
    assert line(NOTES.audio, 1) == ["x", "0% (0% to 39%)", "100%"]
    assert line(NOTES.audio, 2) == ["x", "0% (0% to 39%)", "0%"]
    assert line(np.zeros_like(NOTES.audio), 0) == ["x", "0% (0% to 39%)", "0%"]


def test_notes_of_other_instruments_and_pitches_are_left_out() -> None:
    names, which = ("piano", "flute", "guitar"), np.array([0, 1, 2, 0, 1, 2])
    named = replace(NOTES, instruments=names, instrument=which, pitch=NOTES.pitch + 16)  # 76 to 81
    audio, pitch = study.chosen(named)
    assert sorted(pitch.tolist()) == [76, 78, 79]
    np.testing.assert_allclose(np.sqrt((audio**2).mean(1)), study.RMS, rtol=1e-5)


def test_the_control_has_another_pitch_where_instruments_share_them() -> None:
    pitches = np.repeat([60, 61, 64, 70], 2)
    assert all(abs(pitches[study.others(pitches)] - pitches) >= study.OTHER_SEMITONES)


def test_table_of_a_trained_network() -> None:
    values = params.parse(yaml.safe_load((ROOT / "params.yaml").read_text()), "params.yaml")
    p = Params(**values.nsynth_autoencoder.model_dump() | study.SIZES | SMALL)
    system = study.trained(NOTES.audio, RATE, p, Run(0, make_fabric("cpu")))
    again = study.trained(NOTES.audio, RATE, p, Run(0, make_fabric("cpu")))
    assert np.array_equal(system.transfer(NOTES.audio[0], "notes"), again.transfer(NOTES.audio[0], "notes"))
    lines = study.table(system, NOTES.audio, NOTES.pitch)
    assert [line[0] for line in lines] == [
        "the recording", "the recording at 2000 Hz, in 256 codes", "the reconstruction",
        "the reconstruction of a note of another pitch",
    ]  # fmt: skip
    assert [line[1][:4] for line in lines[:2]] == ["100%", "100%"]
