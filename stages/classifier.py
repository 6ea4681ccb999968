"""Train the instrument classifier, and the judges that ``evaluate`` asks, on recordings of the train split."""

from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.classifiers.network import save_networks
from retimbre.classifiers.panel import REPRESENTATION, judge_scores, window_scores
from retimbre.classifiers.train import Augmentation, BeyondEqBatches, DomainBatches, fit_classifier, fit_level_map
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.report.figures import plot_confusion
from retimbre.training.checkpoint import Scratch, fingerprint
from retimbre.training.devices import make_fabric, seed_everything, set_threads
from retimbre.training.fit import write_history
from retimbre.training.stage import loaded_sources, write_metrics

# The hard judges have much the hardest question and learn twice as long; the ordinary one is soon sure.
STEPS = {"instrument": 1.0, "style": 0.5, "hard": 2.0}  # x classifier.steps
FEATURES, OUT = Path("data/features"), Path("data/models/classifier")
PLOTS, METRICS = Path("metrics/plots/classifier"), Path("metrics/classifier.json")


def main() -> None:
    p = params.load("seed", "classifier")
    c = p.classifier
    set_threads()
    seed_everything(p.seed)
    features = PackedFeatures(FEATURES)
    fabric = make_fabric(c.accelerator, 1, c.precision)
    domains, size = features.domains, (c.window_frames, c.batch_size)
    values = {"seed": p.seed, **params.flatten("classifier", c)}
    with (
        Scratch("classifier", fingerprint(values, [FEATURES], loaded_sources())) as scratch,
        tracking.stage_run("classifier", values) as tracker,
    ):
        decode = fit_level_map(features, REPRESENTATION, domains, c.steps, p.seed, scratch, c.checkpoint_every)
        batches = {
            "instrument": DomainBatches(features, c.representation, domains, *size, p.seed),
            "style": DomainBatches(features, REPRESENTATION, domains, *size, p.seed + 1),
            **{f"hard_{d}": BeyondEqBatches(features, REPRESENTATION, domains, d, *size, p.seed + 2, decode) for d in domains},
        }
        networks, histories = {}, {}
        for name, source in batches.items():
            seen = c.representation if name == "instrument" else REPRESENTATION
            augmentation = Augmentation(c.gain_jitter_db, c.noise_db, decoded=name != "instrument")
            scale = (c.channels, features.statistics[seen]["top_db"], features.config.range_db)
            steps = max(1, round(c.steps * STEPS[name.split("_")[0]]))
            schedule = (steps, c.learning_rate, augmentation, p.seed, fabric, c.log_every, c.checkpoint_every)
            networks[name], histories[name] = fit_classifier(name, source, *scale, *schedule, scratch, tracker)
        scratch.release_signals()
        description = {
            "features": features.config.to_dict(),
            "domains": features.domains,
            "window_frames": c.window_frames,
            "representation": c.representation,
            "judges_representation": REPRESENTATION,
            "statistics": {name: features.statistics[name] for name in sorted({c.representation, REPRESENTATION})},
        }
        save_networks(OUT, networks, description)
        scores, table = window_scores(networks["instrument"], features, c.representation, c.window_frames)
        metrics = scores | {"judges": judge_scores(networks, features, c.window_frames, decode)}
        write_metrics(METRICS, metrics)
        write_history(PLOTS / "history.csv", histories["instrument"])
        table.to_csv(PLOTS / "confusion.csv", index=False)
        plot_confusion(PLOTS / "confusion.png", table, features.domains, "Instrument classifier, test windows")
        tracker.metrics(metrics)
        tracker.artifact(PLOTS, "classifier")
        tracker.artifact(OUT / "config.json", "model")
        scratch.finish()


if __name__ == "__main__":
    run(main)
