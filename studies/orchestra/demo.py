"""The picture and the four sounds of the README: a held-out tune on the piano, and what becomes of it.

``python studies/orchestra/demo.py`` transfers it with the weights that ship and writes ``docs/demo/``.
"""

import sys
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors, params  # noqa: E402
from retimbre.evaluation.report.figures import new_figure, save  # noqa: E402
from retimbre.evaluation.report.rainbowgram import colours, rainbowgram, shared_top_db, ticks  # noqa: E402
from retimbre.systems import catalogue, streaming  # noqa: E402
from studies.orchestra.held_out import HeldOut  # noqa: E402
from studies.orchestra.run import SHIPPED, SYSTEM  # noqa: E402

OUT = ROOT / "docs" / "demo"
SOURCE, TARGETS = "piano", ("violin", "trumpet")
SHOWN_S = 6.0
QUALITY = 0.5  # of Ogg Vorbis, 0 the largest, 1 the smallest: 300 kB hold the four sounds


def main() -> None:
    system = catalogue.load(SYSTEM, SHIPPED)
    rate = system.sample_rate
    music = HeldOut(params.read(ROOT / "params.yaml"), rate)
    *_, (notes, _) = music.takes(SOURCE, TARGETS[0])  # the tune; before it comes a chorale
    source, true = (music.played(notes, name).audio for name in (SOURCE, TARGETS[0]))
    made = {to: streaming.transfer(system, source, rate, to) for to in TARGETS}
    sounds = {SOURCE: source} | {f"{SOURCE}_to_{to}": audio for to, audio in made.items()}
    sounds |= {f"true_{TARGETS[0]}": true}
    OUT.mkdir(parents=True, exist_ok=True)
    samples = round(SHOWN_S * rate)
    for name, audio in sounds.items():
        place = {"format": "OGG", "subtype": "VORBIS", "compression_level": QUALITY}
        soundfile.write(OUT / f"{name}.ogg", audio[:samples], rate, **place)
    titles = {
        SOURCE: f"the recording: {SOURCE}",
        f"{SOURCE}_to_{TARGETS[0]}": f"Retimbre: {TARGETS[0]}",
        f"true_{TARGETS[0]}": f"the same notes on the true {TARGETS[0]}",
    }
    pictures = {name: rainbowgram(sounds[name][:samples], rate) for name in titles}
    figure, axes = new_figure(10.5, 3.4, 1, len(titles), sharey=True)
    top_db = shared_top_db(pictures.values())
    for axis, (name, title) in zip(axes[0], titles.items(), strict=True):
        shown = {"origin": "lower", "aspect": "auto", "extent": (0, SHOWN_S, 0, 1)}
        axis.imshow(colours(pictures[name], top_db), interpolation="nearest", **shown)
        axis.set_title(title)
        axis.set_xlabel("time (s)")
    axes[0, 0].set_yticks(*zip(*ticks(rate), strict=True))
    axes[0, 0].set_ylabel("pitch")
    save(figure, OUT / "rainbowgrams.png")
    for path in sorted(OUT.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    errors.run(main)
