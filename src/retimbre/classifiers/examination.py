"""How good the classifier and the judges are on real recordings: confusion, ROC, precision-recall, calibration, embeddings.

All of it is computed from the trained networks and the test split, whose pieces no training saw. A window is
about a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from sklearn.decomposition import PCA
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from retimbre.audio.equaliser import Equaliser
from retimbre.classifiers.network import probabilities
from retimbre.classifiers.panel import REPRESENTATION, Judges
from retimbre.classifiers.train import split_windows
from retimbre.datasets.packed.format import PackedFeatures

BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class Examination:
    """One yes-or-no question to a network on test windows: ``probability`` (n,) that it gives to yes, ``truth`` (n,) bool."""

    question: str
    probability: np.ndarray
    truth: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return float(roc_auc_score(self.truth, self.probability))

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False positive and true positive rates."""
        false_positive, true_positive, _ = roc_curve(self.truth, self.probability)
        return false_positive, true_positive

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision."""
        precision, recall, _ = precision_recall_curve(self.truth, self.probability)
        return recall, precision

    def reliability(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean probability, share of yes, and number of windows of each of the :data:`BINS` equal bins that has any."""
        member = np.minimum((self.probability * BINS).astype(int), BINS - 1)
        windows = np.bincount(member, minlength=BINS)
        found = windows > 0
        sums = [np.bincount(member, x, BINS)[found] for x in (self.probability, self.truth.astype(float))]
        return sums[0] / windows[found], sums[1] / windows[found], windows[found]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean gap of the reliability curve, weighted by windows (Guo et al. 2017)."""
        predicted, observed, windows = self.reliability()
        return float((windows * np.abs(predicted - observed)).sum() / windows.sum())


def examine(judges: Judges, features: PackedFeatures, representation: str) -> tuple[list[Examination], pandas.DataFrame]:
    """Questions to the instrument classifier (which sees ``representation``) and to the judges, and the
    classifier's answers as a table (actual, predicted).

    Instrument and style networks: this domain or another? Hard judges: the real target or an equalised other one?
    Questions without windows of both kinds are left out.
    """
    frames, domains, found = judges.window_frames, judges.domains, []
    answers = pandas.DataFrame({"actual": [], "predicted": []}, dtype=str)

    def ask(question: str, name: str, label: str, yes: np.ndarray, no: np.ndarray) -> None:
        if len(yes) and len(no):
            index = judges.networks[name].config.classes.index(label)
            both = np.concatenate([yes[:, index], no[:, index]]).astype(np.float64)
            found.append(Examination(question, both, np.arange(len(both)) < len(yes)))

    def windows_of(seen: str) -> dict:
        return {d: split_windows(features, seen, d, "test", frames) for d in domains}

    mel = windows_of(REPRESENTATION)
    for name, title, windows in (("instrument", "classifier", windows_of(representation)), ("style", "ordinary judge", mel)):
        said = {d: probabilities(judges.networks[name], x).numpy() for d, x in windows.items()}
        asked = domains if len(domains) > 2 else domains[:1]  # with two the other question is the same one
        for d in asked:
            ask(f"{title}: {d}?", name, d, said[d], np.concatenate([p for other, p in said.items() if other != d]))
        if name == "instrument":
            classes = np.array(judges.networks[name].config.classes)
            called = [classes[p.argmax(axis=1)] for p in said.values()]
            actual = np.repeat(list(said), [len(p) for p in said.values()])
            answers = pandas.DataFrame({"actual": actual, "predicted": np.concatenate(called)})
    for target, source in (domains[:2], domains[1::-1]):
        equaliser = Equaliser.between(features.statistics[REPRESENTATION], source, target, features.config.range_db)
        yes, no = (probabilities(judges.networks[f"hard_{target}"], x).numpy() for x in (mel[target], equaliser.shift(mel[source])))
        ask(f"hard judge: {target}, not equalised {source}?", f"hard_{target}", target, yes, no)
    return found, answers


def real_clips(judges: Judges, features: PackedFeatures) -> dict[str, list[np.ndarray]]:
    """Log-mel levels (F, T) of the test recordings of every domain; of paired pieces the first performance."""
    return {
        d: [
            np.asarray(features.read(e, representation=REPRESENTATION), np.float32).T
            for e in features.excerpts(domain=d, split="test")
            if str(e.performance) in ("", "1")
        ]
        for d in judges.domains
    }


def judged_real(judges: Judges, clips: Mapping[str, Sequence[np.ndarray]]) -> dict[str, dict[str, list[float]]]:
    """What the judges say of real recordings of each domain, clip by clip: ``domain -> metric -> values``."""
    return {
        domain: {
            "style_target_rate": [judges.style_target_rate(x, domain) for x in levels],
            "style_beyond_eq": [judges.style_beyond_eq(x, domain) for x in levels],
        }
        for domain, levels in clips.items()
    }


def project(
    real: Mapping[str, Sequence[np.ndarray]], outputs: Mapping[str, Sequence[np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[float]] | None:
    """Embeddings (d,) of clips on the two principal axes of the real ones.

    ``real``: domain -> embeddings, ``outputs``: system -> embeddings. Returns both as (n, 2) arrays, and the shares
    of variance; None when there are fewer than three real clips.
    """
    everything = [x for clips in real.values() for x in clips]
    if len(everything) < 3:
        return None
    pca = PCA(n_components=2, svd_solver="full").fit(np.stack(everything))
    on_axes = [{name: pca.transform(np.stack(list(x))) for name, x in of.items() if len(x)} for of in (real, outputs)]
    return on_axes[0], on_axes[1], [float(x) for x in pca.explained_variance_ratio_]
