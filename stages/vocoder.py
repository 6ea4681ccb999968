"""Train what turns levels into audio: the parts of every kind of vocoder in params."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.bench.copy_synthesis import copy_synthesis_figures
from retimbre.evaluation.bench.likelihood import likelihood_figures
from retimbre.evaluation.bench.processes import side_by_side
from retimbre.evaluation.report.curves import write_curves
from retimbre.training.checkpoint import Scratch, fingerprint
from retimbre.training.devices import make_fabric, seed_everything, set_threads
from retimbre.training.stage import loaded_sources, write_metrics
from retimbre.vocoders import catalogue as vocoder

AUDIO, FEATURES, OUT = Path("data/resampled"), Path("data/features"), Path("data/models/vocoder")
PLOTS, METRICS = Path("metrics/plots/vocoder"), Path("metrics/vocoder.json")


def final_losses(curves: dict[str, list[dict[str, float]]]) -> dict[str, float]:
    """The last logged value of every training loss but those that are measured on validation pieces: ``inverter_l1_db`` ..."""
    last = {name.replace("/", "_"): value for history in curves.values() for name, value in history[-1].items() if "/" in name}
    return {name: value for name, value in last.items() if not name.endswith("_nll_bits")}


def main() -> None:
    p = params.load("seed", "vocoder")
    set_threads()
    seed_everything(p.seed)
    values = {"seed": p.seed, **params.flatten("vocoder", p.vocoder)}
    fabric = make_fabric(p.vocoder.accelerator, p.vocoder.devices, p.vocoder.precision, p.vocoder.nodes)
    audio, features = PackedAudio(AUDIO), PackedFeatures(FEATURES)
    if not fabric.is_global_zero:  # one of several processes: it computes its share, the first does all the rest
        with Scratch("vocoder", "", writes=False) as scratch:
            vocoder.fit(audio, features, p.vocoder, p.seed, scratch, None)
        return
    key = fingerprint(values | {"processes": fabric.world_size}, [AUDIO, FEATURES], loaded_sources())
    with (
        Scratch("vocoder", key, wait=fabric.world_size == 1) as scratch,
        tracking.stage_run("vocoder", values) as tracker,
    ):
        model, curves = vocoder.fit(audio, features, p.vocoder, p.seed, scratch, tracker)
        scratch.release_signals()
        model.save(OUT)
        pictures = [
            path for name, history in curves.items() for path in write_curves(PLOTS, name, history, f"Training of the vocoder's {name}")
        ]
        metrics = {**{f"{name}_parameters": part.parameters for name, part in model.parts.items()}, **final_losses(curves)}
        with side_by_side() as over:
            metrics |= likelihood_figures(model, audio, features, "validation", over)
            metrics |= copy_synthesis_figures(model, audio, features, "validation", over)
        write_metrics(METRICS, metrics)
        tracker.metrics({name: value for name, value in metrics.items() if isinstance(value, float)})
        for picture in pictures:
            tracker.artifact(picture, "curves")
        tracker.artifact(OUT / "config.json", "model")
        scratch.finish()


if __name__ == "__main__":
    run(main)
