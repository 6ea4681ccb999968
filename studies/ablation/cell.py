"""Train and score one cell: ``python cell.py claims patch 1`` writes ``results/patch-1.json``.

A training that ends in an error of its own (it diverged, or a guard stopped it) is a result, too:
``finished`` is 0 and ``reason`` says why.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import study
from scoring import CellScorer, records, tabulate

from retimbre import errors, params
from retimbre.arguments import natural
from retimbre.classifiers.panel import Classifiers
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.evaluation.bench.testset import Item, load_items
from retimbre.systems import catalogue
from retimbre.systems.base import Change
from retimbre.systems.controls import EQUALISERS, EqualiserChange
from retimbre.tracking import StageRun, study_run
from retimbre.training.stage import training
from retimbre.vocoders.catalogue import Vocoders

# Of the messages with which training.fit and training.guards end one.
OWN_END = ("has diverged", "guard_action")


@contextmanager
def opened(cell: str, v: study.Variant, data: Data, seed: int) -> Iterator[tuple[Change, StageRun]]:
    """The change of spectra that a cell scores, and the cell's run in MLflow.

    A training continues where an interrupted one of this cell was, and is kept until it has been scored: an
    interrupted scoring need not train again.
    """
    values = {"variant": v.name, "seed": seed}
    for section in ("dataset", "features", v.section):
        values |= params.flatten(section, getattr(v.params, section))
    if v.system in study.CONTROLS:
        with study_run("ablation", cell, values) as tracker:
            yield EqualiserChange(data.features, v.own.representation, EQUALISERS[v.system]), tracker
        return
    fit, module = catalogue.trainer(v.system, v.own)
    inputs, machine = [study.folders_of(v.data)[1]], v.params.machine
    named = f"ablation/{cell}", values, inputs, module, seed, machine, v.own.precision
    with training(*named, lambda stage, values: study_run("ablation", cell, values)) as run:
        change, _ = fit(data, v.own, run)
        run.scratch.release_signals()
        yield change, run.tracker


def paired_items(data: Data, representation: str) -> list[Item]:
    """The test pieces, in both directions.

    Raises RetimbreError unless each has a true target and a second performance, which skill is measured by.
    """
    items = load_items(data.audio, data.features, representation, data.features.domains)
    if not items or any(item.target is None or item.oracle is None for item in items):
        raise errors.RetimbreError(
            "the study needs paired test pieces with a second performance: set dataset.source to soundfont."
        )
    return items


def make_scorer(features: PackedFeatures, v: study.Variant) -> CellScorer:
    """A data set's scorer, without classifiers and vocoder where they know other features or instruments."""
    classifiers = Classifiers.load(study.MODELS / "classifier")
    vocoder = Vocoders.load(study.MODELS / "vocoder", v.params.rendering).by()
    config, representation, domains = features.config, v.own.representation, set(features.domains)
    both = (config, classifiers.features)
    mel = [(c.sample_rate, c.hop_length, c.stft_n_fft, c.mel_bins, c.range_db) for c in both]
    rebuilt = (vocoder.features, vocoder.representation) == (config, representation)
    return CellScorer(
        config,
        representation,
        features.statistics[representation]["top_db"],
        classifiers if mel[0] == mel[1] and domains <= set(classifiers.domains) else None,
        vocoder if rebuilt and domains == set(vocoder.renderer.domains) else None,
    )


def main() -> None:
    given, parser = study.read_variants(), argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=study.groups(given))
    parser.add_argument("variant")
    parser.add_argument("seed", type=natural)
    asked = parser.parse_args()
    seed, cell = asked.seed, f"{asked.variant}-{asked.seed}"
    v = study.variant(asked.group, asked.variant, given)
    path, data = study.RESULTS / f"{cell}.json", Data(*study.folders_of(v.data))
    items, scorer = paired_items(data, v.own.representation), make_scorer(data.features, v)
    try:
        with opened(cell, v, data, seed) as (change, tracker):
            result = tabulate(records(scorer, items, change, seed))
            means = {metric: float(f"{value:.4g}") for metric, value in result.pop("means").items()}
            study.write_json(path, {"finished": 1, **means, **result})
            tracker.metrics(means)
    except errors.RetimbreError as error:
        if not any(sign in str(error) for sign in OWN_END):  # something else is wrong, such as missing data
            raise
        study.write_json(path, {"finished": 0, "reason": str(error)})
        return
    shown = (f"{metric} {means[metric]:.3g}" for metric in ("skill", "feature_lsd", "change_db"))
    print(f"{cell}: {', '.join(shown)}")


if __name__ == "__main__":
    errors.run(main)
