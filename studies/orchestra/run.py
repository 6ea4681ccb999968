"""The weights that ship: twelve instruments at full bandwidth, trained and measured.

``make orchestra`` runs it, in three steps; what is finished is kept when it is interrupted:

1. ``dvc repro resynthesis`` of ``HEAD``, with ``profiles/orchestra.yaml`` laid over its params, in a checkout
   of its own in ``.scratch/orchestra``;
2. the trained networks, in half precision, into ``src/retimbre/weights/orchestra``;
3. held-out scores, every instrument to every other one, and sources that no training has heard: a file in
   ``results/`` per source, then ``docs/orchestra.md`` and ``metrics.json`` beside the weights.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from retimbre import errors, params  # noqa: E402
from retimbre.arguments import positive  # noqa: E402
from retimbre.audio.equaliser import Equaliser  # noqa: E402
from retimbre.audio.features import spectrum_of  # noqa: E402
from retimbre.audio.levels import rms  # noqa: E402
from retimbre.classifiers.batches import Augmentation, DomainBatches  # noqa: E402
from retimbre.classifiers.panel import REPRESENTATION, Classifiers  # noqa: E402
from retimbre.classifiers.train import fit_classifier  # noqa: E402
from retimbre.datasets.packed.format import PackedFeatures  # noqa: E402
from retimbre.datasets.parallel import parallel_map  # noqa: E402
from retimbre.progress import Progress  # noqa: E402
from retimbre.provenance import digest_of_files  # noqa: E402
from retimbre.section import Machine  # noqa: E402
from retimbre.systems import catalogue  # noqa: E402
from retimbre.training.checkpoint import Scratch  # noqa: E402
from retimbre.training.devices import make_fabric, one_thread, seed_everything  # noqa: E402
from retimbre.training.fit import Run  # noqa: E402
from studies.checkout import checked_out, profile  # noqa: E402
from studies.orchestra.held_out import UNSEEN, HeldOut, Judge, Played  # noqa: E402
from tools.figures import markdown  # noqa: E402

CHECKOUT = ROOT / ".scratch" / "orchestra"
SHIPPED = ROOT / "src" / "retimbre" / "weights" / "orchestra"
RESULTS, PAGE = HERE / "results", ROOT / "docs" / "orchestra.md"
SYSTEM = catalogue.DEFAULTS[0]


def train() -> None:
    """Bring the checkout to ``HEAD``, lay the profile over its params, and run what is out of date."""
    words = [sys.executable, "-m", "dvc", "repro", SYSTEM]
    if subprocess.run(words, cwd=checked_out(CHECKOUT, profile("orchestra")), check=False).returncode:
        raise errors.RetimbreError("the training has stopped: run `make orchestra` again to go on.")


def ship() -> None:
    """Store the trained networks in half precision, which moves spectra by less than 0.01 dB.

    Figures of other weights are removed.
    """
    before = digest_of_files(sorted(SHIPPED.rglob("*.safetensors")))
    shutil.rmtree(SHIPPED, ignore_errors=True)
    for name in (SYSTEM, "vocoder/inverter"):
        source, target = CHECKOUT / catalogue.MODELS / name, SHIPPED / name
        target.mkdir(parents=True)
        shutil.copy(source / "config.json", target)
        for path in source.glob("*.safetensors"):
            save_file({key: x.half() for key, x in load_file(path).items()}, target / path.name)
            (target / path.name).chmod(0o644)
    if digest_of_files(sorted(SHIPPED.rglob("*.safetensors"))) != before:
        shutil.rmtree(RESULTS, ignore_errors=True)


class Measuring(Judge):
    """Held-out scores, what plays them, and what is heard of it. It can be sent to other processes."""

    def __init__(self) -> None:
        super().__init__(catalogue.load(SYSTEM, SHIPPED))
        self.p = params.read(CHECKOUT / "params.yaml")
        self.music = HeldOut(self.p, self.config.sample_rate)
        self.statistics = PackedFeatures(CHECKOUT / "data/features").statistics
        with one_thread():
            self.classifiers = self.classifier()

    def classifier(self) -> Classifiers:
        """Instruments told apart by their mel spectra, from the training's recordings."""
        folder = CHECKOUT / "data/models/classifier"
        if folder.is_dir():
            return Classifiers.load(folder)
        features, p = PackedFeatures(CHECKOUT / "data/features"), self.p.classifier
        seed_everything(self.p.seed)
        batches = DomainBatches(
            features, REPRESENTATION, features.domains, p.window_frames, p.batch_size, self.p.seed
        )
        scale = features.statistics[REPRESENTATION]["top_db"], features.config.range_db
        augmentation = Augmentation(p.gain_jitter_db, p.noise_db, decoded=True)
        with Scratch("orchestra_classifier", "style") as scratch:
            run = Run(self.p.seed, make_fabric("cpu"), Machine(jobs=1), scratch)
            network, _ = fit_classifier("style", batches, p, *scale, p.steps, augmentation, run)
            scratch.finish()
        found = Classifiers(
            {"style": network},
            {
                "features": features.config.to_dict(),
                "domains": features.domains,
                "window_frames": p.window_frames,
                "representation": REPRESENTATION,
                "heard_representation": REPRESENTATION,
                "statistics": {REPRESENTATION: features.statistics[REPRESENTATION]},
            },
        )
        found.save(folder)
        return found

    def direction(self, source: str, target: str) -> dict[str, float]:
        """Figures of one direction: its distances summed over the pieces, before they become a skill."""
        found: dict[str, list[float]] = {}
        sources, outputs, trues = [], [], []
        for first, second in self.music.takes(source, target):
            heard = self.music.played(first, source)
            true, again = (self.music.played(x, target) for x in (first, second))
            true_db, source_db = self.spectrum(true.audio), self.spectrum(heard.audio)
            made_db = self.system.spectrum(heard.audio, target)
            audio = self.system.vocoder.synthesise(made_db, len(heard.audio), target)
            sources.append(heard)
            outputs.append(Played(audio, heard.score))
            trues.append(true)
            mel_db = spectrum_of(audio * (self.p.audio.rms / rms(audio)), self.config, REPRESENTATION)
            row = {"target_rate": self.classifiers.style_target_rate(mel_db, target)}
            if source not in UNSEEN:
                rendered = self.equalised(source_db, source, target)
                equalised = self.system.vocoder.synthesise(rendered, len(heard.audio), target)
                row |= {
                    "copy": self.distance(source_db, true_db),
                    "equaliser": self.distance(rendered, true_db),
                    "made": self.distance(made_db, true_db),
                    "second": self.distance(self.spectrum(again.audio), true_db),
                    "high_made": self.high_distance(audio, true_db),
                    "high_equaliser": self.high_distance(equalised, true_db),
                }
            for name, value in row.items():
                found.setdefault(name, []).append(value)
        d = {name: float(np.mean(values)) for name, values in found.items()}
        d |= {"f1": self.notes(outputs), "f1_true": self.notes(trues)}
        if source in UNSEEN:
            d |= {"f1_source": self.notes(sources)}
        else:
            span = d["copy"] - d["second"]
            d |= {"skill": (d["copy"] - d["made"]) / span}
            d |= {"skill_equaliser": (d["copy"] - d["equaliser"]) / span}
        return {name: round(value, 4) for name, value in d.items()}

    def equalised(self, source_db: np.ndarray, source: str, target: str) -> np.ndarray:
        """The source's spectrum with the target's mean levels, per bin."""
        one = Equaliser.between(
            self.statistics[self.change.representation], source, target, self.config.range_db
        )
        return one.shift(torch.from_numpy(source_db)).numpy()


def measure_source(source: str, measuring: Measuring) -> str:
    """All directions from one source, into its file."""
    with one_thread():
        found = {t: measuring.direction(source, t) for t in measuring.system.targets if t != source}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{source}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return source


def measure(jobs: int) -> None:
    """Every source that has no file of results yet."""
    measuring = Measuring()
    missing = [s for s in (*measuring.system.targets, *UNSEEN) if not (RESULTS / f"{s}.json").is_file()]
    with Progress(len(missing), "measure", "sources") as progress:
        for source in parallel_map(partial(measure_source, measuring=measuring), missing, jobs):
            progress.update(1, source)


def as_markdown(corner: str, columns: Sequence[str], rows: dict[str, list[float | None]]) -> str:
    """A table of figures with two decimals."""
    texts = ([name, *("" if x is None else f"{x:.2f}" for x in row)] for name, row in rows.items())
    return markdown([corner, *columns], texts)


def write_page() -> None:
    """``metrics.json`` and the model card beside the weights, and the card as a page of the docs."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")}
    targets = catalogue.targets_of(SYSTEM, SHIPPED)
    sources = [target for target in targets if target in found]
    figures = ("skill", "f1_of_true", "target_rate")
    of_unseen = ("f1_of_true", "source_f1_of_true", "target_rate")
    shares = {"f1_of_true": "f1", "source_f1_of_true": "f1_source"}

    def mean(name: str, rows: list[dict[str, float]]) -> float:
        if name in shares:  # of means: what is heard of one true recording may be nearly nothing
            return round(mean(shares[name], rows) / mean("f1_true", rows), 3)
        return round(float(np.mean([row[name] for row in rows])), 3)

    per_target = {
        target: {name: mean(name, [found[s][target] for s in sources if s != target]) for name in figures}
        for target in targets
    }
    every = [found[s][t] for s in sources for t in targets if s != t]
    unseen = {
        source: {name: mean(name, list(found[source].values())) for name in of_unseen}
        for source in UNSEEN
        if source in found
    }
    totals = {
        **{name: mean(name, every) for name in (*figures, "skill_equaliser", "high_made", "high_equaliser")},
        "lowest_skill": min(row["skill"] for row in every),
        "above_equaliser": mean("above", [{"above": row["skill"] > row["skill_equaliser"]} for row in every]),
    }
    metrics = {"all": totals, "targets": per_target, "unseen_sources": unseen}
    (SHIPPED / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    skills = {s: [found[s][t]["skill"] if s != t else None for t in targets] for s in sources}
    said = {
        "skills": as_markdown("from \\ to", targets, skills),
        "targets": as_markdown("to", figures, {t: list(row.values()) for t, row in per_target.items()}),
        "unseen": as_markdown("from", of_unseen, {s: list(row.values()) for s, row in unseen.items()}),
        **totals,
        "targets_named": ", ".join(targets).replace("_", " "),
        "kilobytes": sum(p.stat().st_size for p in SHIPPED.rglob("*.safetensors")) // 1000,
    }
    page = (HERE / "card.md").read_text(encoding="utf-8").format(**said)
    PAGE.write_text(page, encoding="utf-8")
    alone = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", page)  # the package has no pages to link to
    (SHIPPED / "MODEL_CARD.md").write_text(alone, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=positive, default=os.cpu_count(), help="processes that measure")
    parser.add_argument("--measure", action="store_true", help="only measure what is trained and stored")
    given = parser.parse_args()
    if not given.measure:
        train()
        ship()
    measure(given.jobs)
    write_page()


if __name__ == "__main__":
    errors.run(main)
