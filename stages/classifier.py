"""Train the instrument classifier, and the judges that ``evaluate`` asks, on recordings of the train split."""

from pathlib import Path

import numpy as np
import pandas
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.datasets.packed import PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.figures import plot_confusion
from retimbre.evaluation.judges import REPRESENTATION
from retimbre.models.classifier import SpectrumClassifier, probabilities, save_networks
from retimbre.training.classifier import Augmentation, BeyondEqBatches, DomainBatches, Equaliser, fit_classifier, rate, split_windows
from retimbre.training.devices import make_fabric, seed_everything, set_threads
from retimbre.training.loop import write_history
from retimbre.training.stage import write_metrics

FEATURES, OUT = Path("data/features"), Path("data/models/classifier")
PLOTS, METRICS = Path("metrics/plots/classifier"), Path("metrics/classifier.json")


def test_scores(
    network: SpectrumClassifier, features: PackedFeatures, representation: str, frames: int
) -> tuple[dict[str, float], pandas.DataFrame]:
    """Scores by window on the test split, whose tunes are in no other split, and the table (actual, predicted)."""
    classes = list(network.config.classes)
    tested = {d: split_windows(features, representation, d, "test", frames) for d in classes}
    called = [np.array(classes)[probabilities(network, x).argmax(dim=1).numpy()] for x in tested.values()]
    table = pandas.DataFrame({"actual": np.repeat(classes, [len(x) for x in called]), "predicted": np.concatenate(called)})
    truth = (table.actual, table.predicted)
    scores = {
        "accuracy": accuracy_score(*truth),
        "balanced_accuracy": balanced_accuracy_score(*truth),
        "macro_f1": f1_score(*truth, average="macro", labels=classes, zero_division=0),
    }
    recalls = recall_score(*truth, average=None, labels=classes, zero_division=0)
    return scores | {f"recall_{d}": float(r) for d, r in zip(classes, recalls, strict=True)} | {"n_windows": len(table)}, table


def judge_scores(networks: dict[str, SpectrumClassifier], features: PackedFeatures, frames: int) -> dict[str, float]:
    """What the judges say of real test recordings: the target itself, and equalised and untouched sources."""
    statistics, range_db, scores = features.statistics[REPRESENTATION], features.config.range_db, {}
    tested = {d: split_windows(features, REPRESENTATION, d, "test", frames) for d in features.domains}
    for target in features.domains:
        style, hard = networks["style"], networks[f"hard_{target}"]
        scores |= {f"style_{target}_real": rate(style, tested[target], target), f"hard_{target}_real": rate(hard, tested[target], target)}
        for source in (d for d in features.domains if d != target):
            equaliser = Equaliser.between(statistics, source, target, range_db)
            x, name = tested[source], f"{source}_to_{target}" if len(features.domains) > 2 else target
            scores[f"style_{name}_eq_match"] = rate(style, equaliser.shift(x), target)
            scores[f"hard_{name}_copy"] = rate(hard, x, target)
            scores[f"hard_{name}_eq_match"] = rate(hard, equaliser.shift(x), target)
            scores[f"hard_{name}_eq_affine"] = rate(hard, equaliser.affine(x), target)
    return scores


def main() -> None:
    p = params.load("seed", "classifier")
    c = p.classifier
    set_threads()
    seed_everything(p.seed)
    features = PackedFeatures(FEATURES)
    fabric = make_fabric(c.accelerator, 1, c.precision)
    domains, size = features.domains, (c.window_frames, c.batch_size)
    batches = {
        "instrument": DomainBatches(features, c.representation, domains, *size, p.seed),
        "style": DomainBatches(features, REPRESENTATION, domains, *size, p.seed + 1),
        **{f"hard_{d}": BeyondEqBatches(features, REPRESENTATION, domains, d, *size, p.seed + 2) for d in domains},
    }
    values = {"seed": p.seed, **params.flatten("classifier", c)}
    with tracking.stage_run("classifier", values) as tracker:
        networks, histories = {}, {}
        for name, source in batches.items():
            seen = c.representation if name == "instrument" else REPRESENTATION
            augmentation = Augmentation(c.gain_jitter_db, c.noise_db, smear=name != "instrument")
            scale = (c.channels, features.statistics[seen]["top_db"], features.config.range_db)
            schedule = (c.steps, c.learning_rate, augmentation, p.seed, fabric, c.log_every)
            networks[name], histories[name] = fit_classifier(name, source, *scale, *schedule, tracker.log)
        description = {
            "features": features.config.to_dict(),
            "domains": features.domains,
            "window_frames": c.window_frames,
            "representation": c.representation,
            "judges_representation": REPRESENTATION,
            "statistics": {name: features.statistics[name] for name in {c.representation: 0, REPRESENTATION: 0}},
        }
        save_networks(OUT, networks, description)
        scores, table = test_scores(networks["instrument"], features, c.representation, c.window_frames)
        metrics = scores | {"judges": judge_scores(networks, features, c.window_frames)}
        write_metrics(METRICS, metrics)
        write_history(PLOTS / "history.csv", histories["instrument"])
        table.to_csv(PLOTS / "confusion.csv", index=False)
        plot_confusion(PLOTS / "confusion.png", table, features.domains, "Instrument classifier, test windows")
        tracker.metrics(metrics)
        tracker.artifact(PLOTS, "classifier")
        tracker.artifact(OUT / "config.json", "model")


if __name__ == "__main__":
    run(main)
