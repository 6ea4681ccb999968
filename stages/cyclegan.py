"""Train the CycleGAN: generators A→B and B→A against one discriminator per domain."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.datasets.packed import PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.curves import write_curves
from retimbre.systems import cyclegan
from retimbre.training.checkpoint import Scratch, fingerprint
from retimbre.training.devices import seed_everything, set_threads
from retimbre.training.stage import loaded_sources, write_metrics

FEATURES, OUT = Path("data/features"), Path("data/models/cyclegan")
PLOTS, METRICS = Path("metrics/plots/cyclegan"), Path("metrics/cyclegan.json")


def main() -> None:
    p = params.load("seed", "model")
    set_threads()
    seed_everything(p.seed)
    values = {"seed": p.seed, **params.flatten("model", p.model)}
    features = PackedFeatures(FEATURES)
    with (
        Scratch("cyclegan", fingerprint(values, [FEATURES], loaded_sources())) as scratch,
        tracking.stage_run("cyclegan", values) as tracker,
    ):
        model, curves = cyclegan.fit(features, p.model, p.seed, scratch, tracker)
        scratch.release_signals()
        model.save(OUT)
        pictures = write_curves(PLOTS, "history", curves, "CycleGAN training")
        last = {name: value for row in curves for name, value in row.items() if name != "step"}
        parameters = sum(x.numel() for x in model.generators["ab"].parameters())
        metrics = {"steps": p.model.steps, "generator_parameters": parameters, **last}
        write_metrics(METRICS, metrics)
        tracker.metrics(last)
        for picture in pictures:
            tracker.artifact(picture, "curves")
        tracker.artifact(OUT / "config.json", "model")
        scratch.finish()


if __name__ == "__main__":
    run(main)
