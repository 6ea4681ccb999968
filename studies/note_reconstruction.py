"""Single notes through NSynth's autoencoder and back: how many keep their pitch?

``python studies/note_reconstruction.py`` trains the autoencoder on single notes of two sampled instruments,
as the paper does on its own set, with one thread in about twenty minutes, and plays test notes again,
whose pitch and velocity together are in no training note. It prints a table and goes on where it was
interrupted; another run plays at once. What it makes lies in ``.scratch``.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from retimbre import errors  # noqa: E402
from retimbre.audio.levels import rms  # noqa: E402
from retimbre.datasets.scores.performance import PlayedNote  # noqa: E402
from retimbre.evaluation.bench.probes import LOST_CENTS, cents_off  # noqa: E402
from retimbre.evaluation.results.statistics import wilson  # noqa: E402
from retimbre.nn.wavenet_autoencoder import autoencoder  # noqa: E402
from retimbre.provenance import training_key  # noqa: E402
from retimbre.synthesis.base import Notes  # noqa: E402
from retimbre.synthesis.single_notes import HELD, TICK_S  # noqa: E402
from retimbre.systems.nsynth_autoencoder.params import Params  # noqa: E402
from retimbre.systems.nsynth_autoencoder.system import System  # noqa: E402
from retimbre.training.checkpoint import Scratch  # noqa: E402
from retimbre.training.devices import make_fabric  # noqa: E402
from retimbre.training.fit import Run, fit  # noqa: E402
from retimbre.training.wavenet_autoencoder import ConfusionTrainer, heard  # noqa: E402
from studies.generation.data import Data, settings  # noqa: E402
from studies.generation.study import SAMPLES  # noqa: E402
from tools.figures import markdown  # noqa: E402

STAGE, PLAYER = "note_reconstruction", "notes"  # PLAYER: the decoder is told no instrument, as published
INSTRUMENTS, PITCHES = ("piano", "guitar"), (40, 79)  # the fundamental of the highest is 784 Hz
# Over the section's own: one crop is a whole note of 2,048 samples.
SIZES = {"crop_codes": 32, "batch_size": 8}
RMS = 0.1
NEAR_CENTS = 150
OTHER_SEMITONES = 3  # at least, of the note that is played in the place of another
VELOCITY = 100  # which the tracker does not ask for
DRAWS = 71  # stream of random numbers
HEAD = ("what is heard", "pitch within 50 cents (95 % interval)", "within 150 cents")


def chosen(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Audio (n, N) of RMS 0.1, and MIDI pitches (n,), of the notes that the study is about, in random order:
    beside each other they would have nearly one pitch, and ``Autoencoder.bits`` takes the next one's code.
    """
    wanted = [notes.instruments.index(name) for name in INSTRUMENTS]
    low, high = PITCHES
    mask = np.isin(notes.instrument, wanted) & (low <= notes.pitch) & (notes.pitch <= high)
    picked = np.random.default_rng(0).permutation(np.flatnonzero(mask))
    return np.stack([x * np.float32(RMS / rms(x)) for x in notes.audio[picked]]), notes.pitch[picked]


def others(pitches: np.ndarray) -> list[int]:
    """For each note another one at random that is of another pitch, also where two instruments share it."""
    rng = np.random.default_rng(0)
    return [int(rng.choice(np.flatnonzero(abs(pitches - pitch) >= OTHER_SEMITONES))) for pitch in pitches]


def trained(audio: np.ndarray, sample_rate: int, p: Params, run: Run) -> System:
    """An autoencoder of single notes (n, N), which tells its decoder no instrument."""
    torch.manual_seed(run.seed)
    network = autoencoder.Autoencoder(p.network([PLAYER], one_decoder=True, relu_first=True))
    samples = network.samples(audio, sample_rate)[:, : p.crop_codes * p.pool]
    network.decoder(PLAYER).start_head(autoencoder.histogram([samples]))
    trainer = ConfusionTrainer(network, [PLAYER], p, run.fabric)

    def draw(step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        picked = np.random.default_rng([run.seed, DRAWS, step]).integers(len(samples), size=p.batch_size)
        drawn = torch.from_numpy(samples[picked])[:, None]
        clean = autoencoder.companded(drawn)
        return drawn, clean, clean, heard(drawn, p, run.seed, step)

    fit(p.section, p.steps, trainer, draw, run)
    config = {"sample_rate": sample_rate, "rms": RMS, "domains": [PLAYER]}
    return System(p.section, trainer.result.cpu(), config)


def row(said: str, made: Callable[[int], np.ndarray], pitches: np.ndarray, sample_rate: int) -> list[str]:
    """A line of the table: ``made(n)`` is the note that is heard where test note n is meant."""
    held_s = HELD * SAMPLES / sample_rate
    notes = [PlayedNote(TICK_S, TICK_S + held_s, int(pitch), VELOCITY) for pitch in pitches]
    off = np.array([cents_off(made(n), sample_rate, [note])[0] for n, note in enumerate(notes)])
    share = wilson(int((off <= LOST_CENTS).sum()), len(off))
    kept = f"{share.mean:.0%} ({share.low:.0%} to {share.high:.0%})"
    return [said, kept, f"{(off <= NEAR_CENTS).mean():.0%}"]


def table(system: System, audio: np.ndarray, pitches: np.ndarray) -> list[list[str]]:
    """Lines for test notes (n, N) and their pitches (n,)."""
    network, rate, length = system.network, system.sample_rate, audio.shape[1]
    own = network.config.sample_rate
    codes = [system.encode(note) for note in audio]
    low = network.audio(network.samples(audio, rate), rate)
    wrong = others(pitches)

    def played(place: int, seed: int) -> np.ndarray:
        return system.decode(codes[place], PLAYER, length, seed)

    lines = {
        "the recording": lambda n: audio[n],
        f"the recording at {own} Hz, in 256 codes": lambda n: low[n],
        "the reconstruction": lambda n: played(n, n),
        "the reconstruction of a note of another pitch": lambda n: played(wrong[n], n),
    }
    return [row(said, made, pitches, rate) for said, made in lines.items()]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)  # with two, sums have other last digits
    data = Data(settings({}), SAMPLES)
    data.prepare()
    p = Params(**data.p.nsynth_autoencoder.model_dump() | SIZES)
    audio, _ = chosen(data.notes("train"))
    known = {"data": data.folder.name, "params": p.model_dump()}
    key = training_key(known, [Path(__file__)], "retimbre.systems.nsynth_autoencoder.train")
    with Scratch(STAGE, key) as scratch:
        system = trained(audio, data.rate, p, Run(data.p.seed, make_fabric("cpu"), scratch=scratch))
        test, pitches = chosen(data.notes("test"))
        samples = system.network.samples(test, data.rate)[:, : p.crop_codes * p.pool]
        bits = system.network.bits({PLAYER: torch.from_numpy(samples)})
        print(f"{len(audio)} notes to learn from, {len(test)} to play again: {bits['nll_bits']:.2f} bits a "
              f"sample, {bits['gap_bits']:.2f} more with another note's code")  # fmt: skip
        print(markdown(HEAD, table(system, test, pitches)))
        # The state stays, so that another run plays without training again.


if __name__ == "__main__":
    errors.run(main)
