"""Render the examples of the page: ``python tools/examples.py`` writes ``src/retimbre/app/site/examples``.

Pieces that no training heard: the first of the test split, played on the embedded instruments.
"""

import sys
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from retimbre import errors, params  # noqa: E402
from retimbre.datasets.scores import performance, soundfont  # noqa: E402
from retimbre.datasets.scores.corpus import CHORALES, TUNES  # noqa: E402
from retimbre.datasets.sources.soundfont import RenderedScores, play  # noqa: E402

PLACE = ROOT / "src/retimbre/app/site/examples"
PLAYED = {"piano": CHORALES, "guitar": TUNES, "flute": TUNES}
PEAK, QUALITY = 0.7, 0.9  # of full scale; libsndfile's compression level, 0 the best


def main() -> None:
    p = params.load("seed", "dataset", "machine", path=ROOT / "params.yaml")
    pieces = [piece for piece in RenderedScores(p.dataset, p.seed, p.machine).plan() if piece.split == "test"]
    PLACE.mkdir(exist_ok=True)
    for name, collection in PLAYED.items():
        instrument = soundfont.instrument(name)
        for piece in pieces:
            heard = performance.excerpt(play(piece, 1, p.seed), piece.start_s, piece.duration_s)
            pitches = [note.pitch for note in heard]
            if (
                piece.collection == collection
                and instrument.lowest <= min(pitches) <= max(pitches) <= instrument.highest
            ):
                break
        else:
            raise errors.RetimbreError(f"no test piece lies in the range of {name}: hold out more of them.")
        pieces.remove(piece)
        font = soundfont.find_font(p.dataset.soundfont)
        audio = soundfont.render(heard, instrument.program, font.path, piece.duration_s)
        audio *= PEAK / abs(audio).max()
        path = PLACE / f"{name}.ogg"
        soundfile.write(
            path, audio, soundfont.RENDER_RATE, format="OGG", subtype="VORBIS", compression_level=QUALITY
        )
        print(f"{path.relative_to(ROOT)}: {piece.name}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    errors.run(main)
