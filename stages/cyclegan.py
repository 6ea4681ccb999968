"""Train the CycleGAN (or pix2pix): generators A→B and B→A against one discriminator per domain."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.report.curves import write_curves
from retimbre.systems.cyclegan import system as cyclegan
from retimbre.systems.pix2pix import train as pix2pix
from retimbre.training.checkpoint import Scratch, fingerprint
from retimbre.training.devices import make_fabric, seed_everything, set_threads
from retimbre.training.stage import loaded_sources, write_metrics

FEATURES, OUT = Path("data/features"), Path("data/models/cyclegan")
PLOTS, METRICS = Path("metrics/plots/cyclegan"), Path("metrics/cyclegan.json")
TITLES = {"cyclegan": "CycleGAN", "pix2pix": "pix2pix"}


def main() -> None:
    p = params.load("seed", "model")
    set_threads()
    seed_everything(p.seed)
    fabric = make_fabric(p.model.accelerator, p.model.devices, p.model.precision, p.model.nodes)
    features = PackedFeatures(FEATURES)
    fit = {"cyclegan": cyclegan.fit, "pix2pix": pix2pix.fit}[p.model.method]
    if not fabric.is_global_zero:  # one of several processes: it computes its share, the first does all the rest
        with Scratch("cyclegan", "", writes=False) as scratch:
            fit(features, p.model, p.seed, scratch, None, fabric)
        return
    values = {"seed": p.seed, **params.flatten("model", p.model)}
    key = fingerprint(values | {"processes": fabric.world_size}, [FEATURES], loaded_sources())
    with Scratch("cyclegan", key, wait=fabric.world_size == 1) as scratch, tracking.stage_run("cyclegan", values) as tracker:
        model, curves = fit(features, p.model, p.seed, scratch, tracker, fabric)
        scratch.release_signals()
        write(model, curves, p.model, tracker)
        scratch.finish()


def write(model: cyclegan.CycleGan, curves: list[dict[str, float]], p: params.Model, tracker: tracking.StageRun) -> None:
    """The outputs of the stage; the guards' figures, of single batches, are in the history only."""
    model.save(OUT)
    pictures = write_curves(PLOTS, "history", curves, f"{TITLES[p.method]} training")
    last = {name: value for row in curves for name, value in row.items() if name != "step" and not name.startswith("guard/")}
    parameters = sum(x.numel() for x in model.generators["ab"].parameters())
    write_metrics(METRICS, {"steps": p.steps, "generator_parameters": parameters, **last})
    tracker.metrics(last)
    for picture in pictures:
        tracker.artifact(picture, "curves")
    tracker.artifact(OUT / "config.json", "model")


if __name__ == "__main__":
    run(main)
