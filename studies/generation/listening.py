"""Notes of the study's rows for a listening test: outputs that ``retimbre listen build --evaluation`` reads.

``python studies/generation/listening.py gansynth wavegan parametric`` writes them, and the params of the
test. An item is a note of the test set, its control; every row plays its pitch once.
"""

import argparse
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

import numpy as np  # noqa: E402
import pandas  # noqa: E402
import yaml  # noqa: E402

from retimbre import errors, params  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.audio.files import write_wav  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.listening.params import OF_NOTES  # noqa: E402
from retimbre.listening.study import COLUMNS  # noqa: E402
from studies.changes import changes  # noqa: E402
from studies.generation import models, study  # noqa: E402
from studies.generation.cell import drawn  # noqa: E402
from studies.generation.data import Data, settings  # noqa: E402

CONTROL, BASELINE = "real_test", "parametric"
SEED = 11
CHOICES = 16  # notes of a row without pitch for each that is heard
MIDDLE_C = 60
PRACTICE = 2  # items


def one_each(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places (n,) among pitches ``found`` of those nearest to the ``wanted`` ones (n,), none twice."""
    left, places = np.arange(len(found)), []
    for pitch in wanted:
        nearest = np.abs(found[left] - pitch).argmin()
        places.append(left[nearest])
        left = np.delete(left, nearest)
    return np.array(places)


def notes_of(
    row: study.Row, data: Data, wanted: np.ndarray, published: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Notes (n, N) of a row, one for each of the ``wanted`` pitches, and the pitches (n,) that they have.

    Recordings are drawn among those of the pitch. Each generated note has a latent of its own and the nearest
    pitch that the row knows. Of rows that cannot be asked for a pitch the listener of the study picks the
    nearest of many notes, whatever else these are.
    """
    if not row.system:
        train = data.notes("train")
        mixed = np.random.default_rng(SEED).permutation(len(train))  # they are sorted by instrument
        places = mixed[one_each(train.pitch[mixed], wanted)]
        return np.asarray(train.audio[places]), train.pitch[places]
    model = models.load(row, data, published)
    if model.pitches:
        known = np.array(model.pitches)
        pitches = known[np.abs(known - wanted[:, None]).argmin(1)]
        return model.decode(model.latents(len(wanted), SEED), pitches.tolist()), pitches
    audio = model.decode(model.latents(CHOICES * len(wanted), SEED))
    heard = np.array(data.listener.config.pitches)[data.listener.hear(audio).pitch.argmax(1)]
    places = one_each(heard, wanted)
    return audio[places], heard[places]


def section(called: str, names: list[str], seconds: float, count: int) -> dict[str, object]:
    """The section ``listening`` of the test's params, where it differs from the project's."""
    return {
        "study": called,
        "preset": "notes",
        "systems": [name for name in names if name != BASELINE],
        "baselines": [name for name in names if name == BASELINE],
        "blocks": list(OF_NOTES),
        "items": count,
        "pages_per_condition": min(2, count),
        "clip_s": min(4.0, round(seconds - 0.05, 1)),
    }


def write(
    rows: dict[str, study.Row], names: list[str], data: Data, count: int, folder: Path, published: bool
) -> None:
    """Write ``outputs.csv``, ``audio`` and ``params.yaml`` into a folder, by which the test is named."""
    real = drawn(data.notes("test"), count + PRACTICE)
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = section(folder.name, names, data.samples / data.rate, len(real) - PRACTICE)
    params.overlay(values, {"audio": {"sample_rate": data.rate}, "listening": own})
    params.parse(values, "the test")  # what is wrong is said before anything is made
    heard = {"target": (real.audio, real.pitch)}
    heard |= {name: notes_of(rows[name], data, real.pitch, published) for name in names}
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    lines = []
    for system, (audio, pitches) in heard.items():
        for n, (x, pitch) in enumerate(zip(audio, pitches, strict=True)):
            path = folder / "audio" / f"{n:02d}.{system}.wav"
            write_wav(path, x, data.rate)
            stratum = "low" if real.pitch[n] < MIDDLE_C else "high"
            item = f"{n:02d}-midi{real.pitch[n]}"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            about = ("noise_to_note", "noise", "note", item, stratum, system)
            lines.append((*about, str(path.relative_to(folder)), digest, int(pitch)))
    table = pandas.DataFrame(lines, columns=[*COLUMNS, "pitch"])
    table.to_csv(folder / "outputs.csv", index=False, lineterminator="\n")
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help=f"rows that are heard beside {CONTROL}")
    help = f"notes of each row that are asked about (16), beside {PRACTICE} for practice"
    parser.add_argument("--items", type=positive, default=16, help=help)
    help = "folder to write into; the test has its name (.scratch/generation/listening/notes)"
    parser.add_argument("-o", "--output", type=Path, help=help)
    study.add_which(parser)
    given = parser.parse_args()
    rows, place = study.chosen(given, given.names)
    names = [name for name in dict.fromkeys(given.names) if name != CONTROL]
    sizes = {rows[name].samples for name in names}
    if len(sizes) != 1:
        raise RetimbreError(
            f"{' '.join(given.names)}: name rows beside {CONTROL} whose notes are equally long."
        )
    data = Data(settings(changes(given.set)), *sizes, place)
    for name in names:
        if rows[name].system and models.cost(rows[name], data, given.published) is None:
            command = models.command(rows[name], study.words(given))
            raise RetimbreError(
                f"{name} has no model of these params and this code: train it with `{command}`."
            )
    data.prepare()
    if not data.instruments:
        raise RetimbreError(f"dataset.source is {data.name}, which has words: take a set of notes.")
    called = "-".join(["notes", *models.variant(data, given.published)])
    folder = (given.output or data.scratch / "listening" / called).resolve()
    write(rows, names, data, given.items, folder, given.published)
    words = f"--params {folder / 'params.yaml'}"
    print(f"{folder}: now `retimbre listen build {words} --evaluation {folder}`")
    print(f"the other commands of `retimbre listen` take {words}, too")


if __name__ == "__main__":
    errors.run(main)
