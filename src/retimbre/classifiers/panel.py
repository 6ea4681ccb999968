"""Classifiers of timbre: networks trained on recordings alone that are asked what an output sounds like.

``style_target_rate`` asks the style classifier (which of the instruments is this?); an equaliser alone
reaches 1.00 with it, so it is never quoted alone. ``style_beyond_eq`` asks the hard classifier (the target
instrument, or an equalised other one?); it is meaningless far outside the data, where a collapsed generator
can fool it. Read both together, with the content metrics, beside the control rows.

Both see log-mel spectra of the *decoded audio*, which no discriminator sees, in windows of about one second
with 50 % overlap. A window of silence is counted as not reached.
"""

from pathlib import Path

import numpy as np
import pandas
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from retimbre.audio.equaliser import Equaliser
from retimbre.audio.features import FeatureConfig
from retimbre.classifiers.batches import DECODED_FROM
from retimbre.classifiers.network import (
    LevelMap,
    SpectrumClassifier,
    load_networks,
    probabilities,
    save_networks,
)
from retimbre.classifiers.windows import called, rate, split_windows, windows
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.nn.weights import reading

REPRESENTATION = "mel"
HARD_SURE = 0.9  # a window is beyond EQ when the hard classifier is at least so sure; see style_beyond_eq


class Classifiers:
    """The trained networks of ``data/models/classifier``.

    Attributes: ``features`` (FeatureConfig of the spectra they expect), ``domains``, ``window_frames``,
    ``networks`` (name -> SpectrumClassifier: ``instrument``, ``style``, ``hard_<domain>``).
    """

    def __init__(self, networks: dict[str, SpectrumClassifier], description: dict):
        self.networks, self.description = networks, description
        self.features = FeatureConfig.from_dict(description["features"])
        self.domains: list[str] = list(description["domains"])
        self.window_frames: int = int(description["window_frames"])

    @classmethod
    def load(cls, folder: str | Path) -> "Classifiers":
        """Read a trained classifier's folder. Raises RetimbreError when it is missing or damaged."""
        with reading(Path(folder), "classifier"):
            return cls(*load_networks(Path(folder)))

    def save(self, folder: Path) -> None:
        save_networks(folder, self.networks, self.description)

    def _windows(self, db: np.ndarray) -> Tensor:
        """Windows (B, F, frames) of a spectrum (F, T) with 50 % overlap; a shorter clip is repeated."""
        if db.shape[1] < self.window_frames:
            db = np.tile(db, (1, -(-self.window_frames // max(1, db.shape[1]))))
        return windows(db.T, self.window_frames, max(1, self.window_frames // 2))

    def _heard(self, name: str, db: np.ndarray) -> tuple[SpectrumClassifier, Tensor, Tensor]:
        """A network, windows (B, F, frames) of a spectrum (F, T), and which of them sound (B,)."""
        if name not in self.networks:
            known = ", ".join(self.domains)
            raise RetimbreError(f"The trained classifier has no network {name!r}; its domains are {known}.")
        network, x = self.networks[name], self._windows(db)
        return network, x, x.amax(dim=(1, 2)) > network.config.top_db - network.config.range_db

    def _rate(self, name: str, db: np.ndarray, label: str, sure: float = 0.5) -> float:
        network, x, sounding = self._heard(name, db)
        return float((called(network, x, label, sure) & sounding).float().mean())

    def _probability(self, name: str, db: np.ndarray, label: str) -> float:
        network, x, sounding = self._heard(name, db)
        return float((probabilities(network, x)[:, network.config.classes.index(label)] * sounding).mean())

    def style_target_rate(self, mel_db: np.ndarray, target: str) -> float:
        """Share of windows of a log-mel spectrum (F, T) that the style classifier calls ``target``."""
        return self._rate("style", mel_db, target)

    def style_probability(self, mel_db: np.ndarray, domain: str) -> float:
        """Mean probability that the style classifier gives ``domain`` over the windows of a log-mel spectrum
        (F, T); a silent window counts 0.
        """
        return self._probability("style", mel_db, domain)

    def style_beyond_eq(self, mel_db: np.ndarray, target: str) -> float:
        """Share of windows of a log-mel spectrum (F, T) that the hard classifier takes for real ``target``.

        The other answer is equalised source, and it must be 90 % sure: a vocoder that learnt from recordings
        gives every equalised source something of the target, so that doubtful windows are no evidence of a
        transfer.
        """
        return self._rate(f"hard_{target}", mel_db, target, HARD_SURE)

    @torch.no_grad()
    def embed_windows(self, mel_db: np.ndarray) -> np.ndarray:
        """The style classifier's embeddings (W, D) of the windows of a log-mel spectrum (F, T), float32."""
        return self.networks["style"].embed(self._windows(mel_db)).numpy()

    def embed(self, mel_db: np.ndarray) -> np.ndarray:
        """Mean embedding (D,) of the style classifier, for distances between clips."""
        return self.embed_windows(mel_db).mean(axis=0)


# ------------------------------------------------------------------- how good they are on recordings


def window_scores(
    network: SpectrumClassifier, features: PackedFeatures, representation: str, frames: int
) -> tuple[dict[str, float], pandas.DataFrame]:
    """Scores by window of the test split, and the windows as a table (actual, predicted).

    The test split's tunes are in no other split. ``auc``: area under the ROC curve, one class against the
    rest, mean over classes; ``ece``: expected calibration error, 15 equal bins.
    """
    classes = list(network.config.classes)
    tested = {d: split_windows(features, representation, d, "test", frames) for d in classes}
    if empty := [d for d, x in tested.items() if not len(x)]:
        advice = "lower classifier.window_frames or give longer ones"
        raise RetimbreError(f"no test recording of {empty[0]} is {frames} frames long: {advice}.")
    p = torch.cat([probabilities(network, x) for x in tested.values()])
    index = np.repeat(np.arange(len(classes)), [len(x) for x in tested.values()])
    named = np.array(classes)
    table = pandas.DataFrame({"actual": named[index], "predicted": named[p.argmax(dim=1).numpy()]})
    truth = (table.actual, table.predicted)
    scores = {
        "accuracy": accuracy_score(*truth),
        "balanced_accuracy": balanced_accuracy_score(*truth),
        "macro_f1": f1_score(*truth, average="macro", labels=classes, zero_division=0),
        "auc": float(np.mean([roc_auc_score(index == i, p[:, i].numpy()) for i in range(len(classes))])),
        "ece": float(multiclass_calibration_error(p, torch.from_numpy(index), num_classes=len(classes))),
    }
    recalls = recall_score(*truth, average=None, labels=classes, zero_division=0)
    scores |= {f"recall_{d}": float(r) for d, r in zip(classes, recalls, strict=True)}
    return scores | {"n_windows": len(table)}, table


def recording_scores(
    networks: dict[str, SpectrumClassifier], features: PackedFeatures, frames: int, decode: LevelMap
) -> dict[str, float]:
    """Rates of the style and hard classifiers on test recordings.

    ``real``: the target itself; ``copy``: the source untouched; ``eq_*``: the source equalised;
    ``_decoded``: after the stand-in for a vocoder. For the hard classifiers ``real`` should be at least
    0.85, the others at most 0.1.
    """
    domains, range_db, scores = features.domains, features.config.range_db, {}

    def tested(representation: str, domain: str) -> Tensor:
        return split_windows(features, representation, domain, "test", frames)

    for target in domains:
        style, hard = networks["style"], networks[f"hard_{target}"]
        floor = features.statistics[DECODED_FROM]["top_db"] - range_db
        decoded = decode(tested(DECODED_FROM, target).clamp(min=floor))
        asked = {"real": tested(REPRESENTATION, target), "real_decoded": decoded}
        for source in (d for d in domains if d != target):
            suffix = f"_from_{source}" if len(domains) > 2 else ""
            mel, cqt = (
                Equaliser.between(features.statistics[r], source, target, range_db)
                for r in (REPRESENTATION, DECODED_FROM)
            )
            x, coded = tested(REPRESENTATION, source), tested(DECODED_FROM, source)
            asked |= {
                f"copy{suffix}": x,
                f"eq_match{suffix}": mel.shift(x),
                f"eq_affine{suffix}": mel.affine(x),
                f"eq_match_decoded{suffix}": decode(cqt.shift(coded)),
                f"eq_affine_decoded{suffix}": decode(cqt.affine(coded)),
            }
        scores |= {
            f"style_{target}_{name}": rate(style, x, target)
            for name, x in asked.items()
            if "affine" not in name
        }
        scores |= {f"hard_{target}_{name}": rate(hard, x, target, HARD_SURE) for name, x in asked.items()}
    return scores
