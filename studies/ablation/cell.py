"""Train and score one cell: ``python cell.py claims patch 1`` writes ``results/patch-1.json``.

A training that ends in an error of its own (it diverged, or a guard stopped it) is a result, too: ``finished`` is 0 and
``reason`` says why.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import study
from scoring import CellScorer, records, tabulate

from retimbre import errors, params, tracking
from retimbre.audio.features import FeatureConfig, FeatureExtractor
from retimbre.classifiers.panel import Judges
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.evaluation.bench.testset import Item, load_items
from retimbre.systems.controls import EqualiserControl
from retimbre.training.checkpoint import Scratch, fingerprint
from retimbre.training.devices import seed_everything, set_threads
from retimbre.training.stage import loaded_sources
from retimbre.vocoders.catalogue import Vocoder

MODELS = study.ROOT / "data/models"
OWN_END = ("has diverged", "guard_action")  # of the messages with which training.loop and training.guards end a training


@contextmanager
def trained(folder: Path, p: params.Params, seed: int, cell: str, run: tracking.StageRun) -> Iterator[Any]:
    """The trained generators; continues where an interrupted training of this cell was.

    Its checkpoint is kept until they have been scored: an interrupted scoring need not train again.
    """
    from retimbre.systems.cyclegan import system as cyclegan
    from retimbre.systems.pix2pix import train as pix2pix

    seed_everything(seed)
    values = {"cell": cell, "seed": seed, **params.flatten("model", p.model)}
    system = pix2pix if p.model.method == "pix2pix" else cyclegan
    with Scratch("ablation", fingerprint(values, [folder], loaded_sources())) as scratch:
        model, _ = system.fit(PackedFeatures(folder), p.model, seed, scratch, run)
        scratch.release_signals()
        yield model
        scratch.finish()


def mel_of(c: FeatureConfig) -> list[float]:
    """What log-mel spectra depend on, which are all that judges hear."""
    return [c.sample_rate, c.hop_length, c.stft_n_fft, c.mel_bins, c.range_db]


def paired_items(audio: Path, features: PackedFeatures, representation: str) -> list[Item]:
    """The test pieces. Raises RetimbreError unless each has a true target and a second performance, which skill is measured by."""
    items = load_items(PackedAudio(audio), features, representation, features.domains)
    if not items or any(item.target is None or item.oracle is None for item in items):
        raise errors.RetimbreError("the study needs paired test pieces with a second performance: set dataset.source to soundfont.")
    return items


def score(system: Any, items: list[Item], features: PackedFeatures, representation: str, seed: int) -> dict[str, Any]:
    """Metrics of a system of levels on the paired test pieces of a data set."""
    judges, vocoder = Judges.load(MODELS / "classifier"), Vocoder.load(MODELS / "vocoder")
    same = features.config == vocoder.features and sorted(features.domains) == sorted(vocoder.domains)
    scorer = CellScorer(
        FeatureExtractor(features.config),
        representation,
        features.statistics[representation]["top_db"],
        judges if mel_of(judges.features) == mel_of(features.config) and set(features.domains) <= set(judges.domains) else None,
        vocoder if same and representation == vocoder.representation else None,
    )
    return tabulate(records(scorer, items, system, seed))


def main() -> None:
    group, variant, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    set_threads()
    given = study.read_variants()
    p, kind, cell = study.params_of(group, variant, given), study.system_of(group, variant, given), f"{variant}-{seed}"
    audio, folder = study.folders_of(study.data_of(group, given))
    features = PackedFeatures(folder)
    items = paired_items(audio, features, p.model.representation)
    logged = {"variant": variant, "seed": seed, "dataset": p.dataset.model_dump(), "features": p.features.model_dump()}
    with tracking.study_run("ablation", cell, {**logged, "model": p.model.model_dump()}) as run:
        try:
            if kind == "generators":
                made = trained(folder, p, seed, cell, run)
            else:
                made = nullcontext(EqualiserControl.fit(features, p.model.representation, kind == "eq_affine"))
            with made as system:
                result = score(system, items, features, p.model.representation, seed)
                means = {name: float(f"{value:.4g}") for name, value in result.pop("means").items()}
                study.write_json(study.RESULTS / f"{cell}.json", {"finished": 1, **means, **result})
                run.metrics(means)
        except errors.RetimbreError as error:
            if not any(sign in str(error) for sign in OWN_END):  # something else is wrong, such as missing data: no result
                raise
            study.write_json(study.RESULTS / f"{cell}.json", {"finished": 0, "reason": str(error)})
            return
    print(f"{cell}: " + ", ".join(f"{name} {means[name]:.3g}" for name in ("skill", "feature_lsd", "change_db")))


if __name__ == "__main__":
    errors.run(main)
