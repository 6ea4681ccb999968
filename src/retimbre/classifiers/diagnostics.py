"""Diagnostics of the classifiers on real recordings: ROC, precision-recall, calibration, embeddings.

All of it is computed from the trained networks and the test split, whose pieces no training saw. A window is
about a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from sklearn.calibration import calibration_curve
from sklearn.decomposition import PCA
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from retimbre.audio.equaliser import Equaliser
from retimbre.classifiers.network import probabilities
from retimbre.classifiers.panel import REPRESENTATION, Classifiers
from retimbre.classifiers.windows import first_performances, split_windows
from retimbre.datasets.packed.format import PackedFeatures

BINS = 10  # of the calibration curve, equally wide


@dataclass(frozen=True)
class Question:
    """A yes-or-no question to a network on test windows: ``probability`` (n,) of yes, ``truth`` (n,) bool."""

    text: str
    probability: np.ndarray
    truth: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the ROC curve."""
        return float(roc_auc_score(self.truth, self.probability))

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False positive and true positive rates."""
        return roc_curve(self.truth, self.probability)[:2]

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision."""
        precision, recall, _ = precision_recall_curve(self.truth, self.probability)
        return recall, precision

    def reliability(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean probability, share of yes, and number of windows of each bin that has any."""
        observed, predicted = calibration_curve(self.truth, self.probability, n_bins=BINS)
        inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
        bins = np.searchsorted(inner_edges, self.probability)  # as scikit-learn counts
        windows = np.bincount(bins, minlength=BINS)
        return predicted, observed, windows[windows > 0]

    @property
    def calibration_error(self) -> float:
        """Mean gap of the reliability curve, weighted by windows (Guo et al. 2017)."""
        answers = torch.from_numpy(self.probability), torch.from_numpy(self.truth.astype(int))
        return float(binary_calibration_error(*answers, n_bins=BINS))


def questions(classifiers: Classifiers, features: PackedFeatures) -> list[Question]:
    """Questions to all networks on the test split.

    Instrument and style classifier: this domain or another? Hard classifiers: the real target or an equalised
    other one? Questions without windows of both kinds are left out.
    """
    found, domains = [], classifiers.domains

    def ask(text: str, name: str, label: str, yes: Tensor, no: Tensor) -> None:
        if len(yes) and len(no):
            network = classifiers.networks[name]
            index = network.config.classes.index(label)
            both = probabilities(network, torch.cat([yes, no]))[:, index].numpy().astype(np.float64)
            found.append(Question(text, both, np.arange(len(both)) < len(yes)))

    mel = held_out_windows(classifiers, features, REPRESENTATION)
    seen = held_out_windows(classifiers, features, classifiers.description["representation"])
    for name, windows in (("instrument", seen), ("style", mel)):
        for d in domains if len(domains) > 2 else domains[:1]:  # with two the other question is the same one
            others = torch.cat([x for other, x in windows.items() if other != d])
            ask(f"{name} classifier: {d}?", name, d, windows[d], others)
    for target, source in permutations(domains[:2]):
        equaliser = Equaliser.between(
            features.statistics[REPRESENTATION], source, target, features.config.range_db
        )
        text = f"hard classifier: {target}, not equalised {source}?"
        ask(text, f"hard_{target}", target, mel[target], equaliser.shift(mel[source]))
    return found


def held_out_windows(
    classifiers: Classifiers, features: PackedFeatures, representation: str
) -> dict[str, Tensor]:
    """Windows (B, F, T) of the test recordings of every domain."""
    frames = classifiers.window_frames
    return {d: split_windows(features, representation, d, "test", frames) for d in classifiers.domains}


def held_out_clips(classifiers: Classifiers, features: PackedFeatures) -> dict[str, list[np.ndarray]]:
    """Log-mel spectra (F, T) of every domain's test recordings; of paired pieces the first performance."""
    found = {d: first_performances(features, d, "test") for d in classifiers.domains}
    return {
        d: [np.asarray(features.read(e, representation=REPRESENTATION), np.float32).T for e in excerpts]
        for d, excerpts in found.items()
    }


def project(
    real: Mapping[str, Sequence[np.ndarray]], outputs: Mapping[str, Sequence[np.ndarray]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[float]] | None:
    """Embeddings (d,) of clips on the two principal axes of the real ones.

    ``real``: domain -> embeddings, ``outputs``: system -> embeddings. Returns both as (n, 2) arrays, and the
    shares of variance; None when there are fewer than three real clips.
    """
    everything = [x for clips in real.values() for x in clips]
    if len(everything) < 3:
        return None
    pca = PCA(n_components=2, svd_solver="full").fit(np.stack(everything))
    on_axes = [
        {name: pca.transform(np.stack(list(x))) for name, x in of.items() if len(x)} for of in (real, outputs)
    ]
    return on_axes[0], on_axes[1], [float(x) for x in pca.explained_variance_ratio_]
