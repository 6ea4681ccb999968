"""Notes that an output lost, and octaves that it added, one by one, beside what the transcriber heard there.

``python studies/lost_notes.py piano_to_guitar ryansMammoth-MountYourBaggageJig`` after ``dvc repro``: the
reasons behind ``energy_lost`` and ``energy_ghosts`` of one row and one test piece.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from retimbre import errors  # noqa: E402
from retimbre.audio.features import spectrum_of  # noqa: E402
from retimbre.audio.levels import rms  # noqa: E402
from retimbre.datasets.packed.data import Data  # noqa: E402
from retimbre.evaluation.bench.scores import with_scores  # noqa: E402
from retimbre.evaluation.bench.testset import load_items  # noqa: E402
from retimbre.metrics.energy import GHOST_DB, GHOST_RANGE_DB, WEAK_DB, Places  # noqa: E402
from retimbre.metrics.spectral import best_shift  # noqa: E402
from retimbre.nn.transcriber.content import NOTE, ONSET, Content  # noqa: E402
from retimbre.systems.resynthesis.code import notes_heard  # noqa: E402

LOWEST = 21  # MIDI pitch of the transcriber's first key
HEARD_S = 0.2  # after a note's onset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("direction", help="such as piano_to_guitar")
    parser.add_argument("piece", help="such as bach-bwv405")
    parser.add_argument("--row", default="resynthesis", help="of the table (resynthesis)")
    given = parser.parse_args()
    data = Data()
    config, top_db = data.features.config, data.features.statistics["cqt"]["top_db"]
    items = load_items(data.audio, data.features, "cqt", data.features.domains[:2])
    known = {(i.direction, i.piece): i for i in with_scores(items, Path("data/raw"))}
    item = known.get((given.direction, given.piece))
    path = Path(f"data/evaluation/audio/{given.direction}.{given.piece}.{given.row}.flac")
    if item is None or item.score is None or not path.is_file():
        raise errors.RetimbreError(f"{path} is no output of a piece whose score is known: see outputs.csv.")
    audio = soundfile.read(path, dtype="float32")[0]
    audio = audio * (rms(item.target.audio) / rms(audio))
    ours, true = (spectrum_of(x, config, "cqt") for x in (audio, item.target.audio))
    late, _ = best_shift(ours, true, top_db, config.range_db)
    rate = config.sample_rate / config.hop_length
    places = Places.of(item.score, config.frequencies_hz("cqt"), rate, true.shape[1])
    output_db, target_db = places.energies_db(ours, late), places.energies_db(true)
    heard = Content(config).frames(item.source.audio)

    def posterior(which: slice, key: int, onset_s: float) -> float:
        frames = slice(max(round(onset_s * rate), 0), round((onset_s + HEARD_S) * rate) + 1)
        return float(heard[frames, which.start + key].max()) if 0 <= key < which.stop - which.start else 0.0

    error = output_db - target_db
    for n in np.flatnonzero(error[:, 0] < -WEAK_DB):
        pitch, onset_s = int(item.score.pitches_midi[n]), item.score.intervals_s[n, 0]
        key = pitch - LOWEST
        said = f"onset {posterior(ONSET, key, onset_s):.2f}, note {posterior(NOTE, key, onset_s):.2f}"
        trained = sum(
            notes_heard(data.content.read(e))[key]
            for e in data.content.excerpts(domain=item.target_domain, split="train")
        )
        print(f"{onset_s:5.2f} s: MIDI {pitch} is {error[n, 0]:.1f} dB; heard in the source: {said}; "
              f"in the training of {item.target_domain}: {trained / rate:.1f} s")  # fmt: skip
    ghosts = (error[:, 1:] > GHOST_DB) & (output_db[:, 1:] > target_db[:, :1] - GHOST_RANGE_DB)
    for n, side in np.argwhere(ghosts):
        pitch, onset_s = int(item.score.pitches_midi[n]), item.score.intervals_s[n, 0]
        key = pitch - LOWEST + (12 if side == 0 else -12)
        there, heard_there = ("above", "below")[side], posterior(NOTE, key, onset_s)
        print(f"{onset_s:5.2f} s: the octave {there} MIDI {pitch} is {error[n, 1 + side]:+.1f} dB; "
              f"heard in the source: note {heard_there:.2f}")  # fmt: skip


if __name__ == "__main__":
    errors.run(main)
