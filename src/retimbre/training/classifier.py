"""Training of the instrument classifier and of the judges that evaluation asks.

Only recordings are ever shown to these networks, never a generator's output. Batch n depends on the
seed and n alone, so a training is the same wherever and in however many pieces it runs.

Two kinds of batches:

* :class:`DomainBatches`: which instrument plays? (the classifier, and the ordinary *style* judge).
* :class:`BeyondEqBatches`: a real recording of the target, or an *equalised* recording of another
  instrument? A plain equaliser already fools the ordinary judge completely, so success with that one
  proves nothing; this *hard* judge sees past the average spectrum to attack, decay and partials.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional

from retimbre.datasets.crops import FeatureCrops
from retimbre.datasets.packed import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.models.classifier import ClassifierConfig, SpectrumClassifier, probabilities
from retimbre.progress import Progress


class Batches(Protocol):
    """Labelled windows: ``classes`` name the labels, ``batch(step)`` gives dB (B, F, T) and labels (B,)."""

    classes: tuple[str, ...]

    def batch(self, step: int) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Augmentation:
    """What is done to every training window, against brittle cues.

    ``gain_db`` and ``noise_db`` are standard deviations of a random gain per bin and of noise per cell.
    ``smear``: half of the windows are blurred along time or frequency and every third loses its top, because the
    judges are asked about audio that went through a vocoder, whose magnitudes are a little blurred and whose
    highest band is guessed. It is done to both classes alike, so that blur says nothing about the class.
    """

    gain_db: float
    noise_db: float
    smear: bool = False

    def __call__(self, db: Tensor, rng: np.random.Generator) -> Tensor:
        batch, bins, frames = db.shape
        if self.smear:
            db = _smear(db, rng)
        gain = rng.normal(0, self.gain_db, (batch, bins, 1)) if self.gain_db else 0.0
        noise = rng.normal(0, self.noise_db, (batch, bins, frames)) if self.noise_db else 0.0
        return db + torch.from_numpy(np.asarray(gain + noise, np.float32))


def _smear(db: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur some windows with [a, 1 - 2a, a] (a up to 0.3) along either axis and silence the top of some others."""
    batch, bins, _ = db.shape
    kernels = []
    for _axis in range(2):
        a = rng.uniform(0, 0.3, batch) * (rng.random(batch) < 0.5)
        kernels.append(torch.from_numpy(np.stack([a, 1 - 2 * a, a], axis=1).astype(np.float32)))
    x = functional.pad(db[:, None], (1, 1, 1, 1), mode="replicate")  # (B, 1, F+2, T+2)
    in_time = sum(kernels[0][:, k, None, None, None] * x[..., k : k + db.shape[2]] for k in range(3))
    blurred = sum(kernels[1][:, k, None, None, None] * in_time[..., k : k + bins, :] for k in range(3))[:, 0]
    kept = np.where(rng.random(batch) < 1 / 3, rng.uniform(0.6, 1.0, batch), 1.0) * bins
    cut = torch.arange(bins)[None, :, None] >= torch.from_numpy(kept)[:, None, None]
    return torch.where(cut, blurred.amin(dim=(1, 2), keepdim=True), blurred)


class DomainBatches:
    """As many windows of every domain's training split; the label is the domain."""

    def __init__(self, features: PackedFeatures, representation: str, domains: Sequence[str], frames: int, batch_size: int, seed: int):
        self.classes = tuple(domains)
        share = max(1, batch_size // len(domains))
        self.crops = [FeatureCrops(features, representation, d, "train", frames, share, seed, stream) for stream, d in enumerate(domains)]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        parts = [crops.batch(step) for crops in self.crops]
        return torch.cat(parts), torch.repeat_interleave(torch.arange(len(parts)), len(parts[0]))


@dataclass(frozen=True)
class Equaliser:
    """Gives recordings of ``source`` the average spectrum of ``target``, in dB.

    ``mean_db`` and ``std_db`` are (2, F): per-bin statistics of source and target over the training split,
    of levels clipped to [top_db - range_db, top_db].
    """

    mean_db: Tensor
    std_db: Tensor
    top_db: float
    range_db: float

    @classmethod
    def between(cls, statistics: dict, source: str, target: str, range_db: float) -> "Equaliser":
        """From one representation's entry of ``statistics.json``."""
        mean, std = (torch.tensor([statistics[k][d] for d in (source, target)], dtype=torch.float32) for k in ("mean_db", "std_db"))
        return cls(mean, std, float(statistics["top_db"]), range_db)

    def _clip(self, db: Tensor) -> Tensor:
        return db.clamp(self.top_db - self.range_db, self.top_db)

    def shift(self, db: Tensor) -> Tensor:
        """``eq_match``: every bin moved by the difference of the means; (B, F, T) or (F, T)."""
        return self._clip(self._clip(db) + (self.mean_db[1] - self.mean_db[0])[:, None])

    def affine(self, db: Tensor) -> Tensor:
        """``eq_affine``: every bin given the target's mean and standard deviation."""
        scale = self.std_db[1] / self.std_db[0].clamp(min=0.1)
        return self._clip((self._clip(db) - self.mean_db[0][:, None]) * scale[:, None] + self.mean_db[1][:, None])


class BeyondEqBatches:
    """Half real windows of ``target`` (label 1), half equalised windows of the other domains (label 0)."""

    def __init__(
        self, features: PackedFeatures, representation: str, domains: Sequence[str], target: str, frames: int, batch_size: int, seed: int
    ):
        self.classes = ("equalised", target)
        others = [d for d in domains if d != target]
        share = max(1, batch_size // 2 // len(others))
        statistics, range_db = features.statistics[representation], features.config.range_db
        self.equalisers = [Equaliser.between(statistics, d, target, range_db) for d in others]
        self.others = [FeatureCrops(features, representation, d, "train", frames, share, seed, stream) for stream, d in enumerate(others)]
        self.target = FeatureCrops(features, representation, target, "train", frames, share * len(others), seed, len(others))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        false = []
        for crops, equaliser in zip(self.others, self.equalisers, strict=True):
            x = crops.batch(step)
            half = (len(x) + step % 2) // 2  # the odd one out alternates
            false += [equaliser.shift(x[:half]), equaliser.affine(x[half:])]
        true = self.target.batch(step)
        negative = torch.cat(false)
        labels = torch.cat([torch.zeros(len(negative), dtype=torch.long), torch.ones(len(true), dtype=torch.long)])
        return torch.cat([negative, true]), labels


def fit_classifier(
    name: str,
    batches: Batches,
    channels: int,
    top_db: float,
    range_db: float,
    steps: int,
    learning_rate: float,
    augmentation: Augmentation,
    seed: int,
    fabric: Fabric,
    log_every: int = 50,
    log: Callable[[int, dict[str, float]], None] | None = None,
) -> tuple[SpectrumClassifier, list[dict[str, float]]]:
    """Train one network with Adam and cross-entropy; the rate falls linearly to zero over the last half.

    Returns the network (evaluation mode, CPU) and rows of step, loss and accuracy, means over
    ``log_every`` training batches. Raises RetimbreError when the loss is no longer finite.
    """
    torch.manual_seed(seed)
    network = SpectrumClassifier(ClassifierConfig(batches.classes, channels, top_db, range_db))
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    model, optimiser = fabric.setup(network, optimiser)
    model.train()
    history, losses, hits, seen = [], 0.0, 0, 0
    with Progress(steps, f"classifier: {name}", "step") as progress:
        for step in range(steps):
            x, y = batches.batch(step)
            x, y = fabric.to_device((augmentation(x, np.random.default_rng([seed, 999, step])), y))
            optimiser.param_groups[0]["lr"] = learning_rate * min(1.0, 2 * (steps - step) / steps)
            logits = model(x)
            loss = functional.cross_entropy(logits.float(), y)
            optimiser.zero_grad()
            fabric.backward(loss)
            optimiser.step()
            losses, hits, seen = losses + loss.item() * len(y), hits + int((logits.argmax(1) == y).sum()), seen + len(y)
            progress.update()
            if (step + 1) % log_every == 0 or step + 1 == steps:
                row = {"step": step + 1, "loss": losses / seen, "accuracy": hits / seen}
                if not np.isfinite(row["loss"]):
                    raise RetimbreError("classifier.learning_rate is too high: the loss is no longer finite; use a lower one.")
                history.append(row)
                if log:
                    log(step + 1, {f"{name}/loss": row["loss"], f"{name}/accuracy": row["accuracy"]})
                losses, hits, seen = 0.0, 0, 0
    return network.cpu().eval(), history


# ----------------------------------------------------------------------------------------- testing


def windows(db: np.ndarray, frames: int, hop: int | None = None) -> Tensor:
    """(T, F) levels as stored -> windows (B, F, frames) every ``hop`` frames (default: no overlap); B is 0 when too short."""
    starts = range(0, len(db) - frames + 1, hop or frames)
    parts = [torch.from_numpy(np.asarray(db[s : s + frames], np.float32).T.copy()) for s in starts]
    return torch.stack(parts) if parts else torch.zeros(0, db.shape[1], frames)


def split_windows(features: PackedFeatures, representation: str, domain: str, split: str, frames: int) -> Tensor:
    """All windows (B, F, frames) of a domain's split; of paired pieces only the first performance."""
    excerpts = [e for e in features.excerpts(domain=domain, split=split) if str(e.performance) in ("", "1")]
    parts = [windows(features.read(e, representation=representation), frames) for e in excerpts]
    return torch.cat(parts) if parts else torch.zeros(0, features.config.bins(representation), frames)


def rate(network: SpectrumClassifier, x: Tensor, label: str) -> float:
    """Share of the windows (B, F, T) that the network calls ``label``; NaN without windows."""
    called = probabilities(network, x).argmax(dim=1) == network.config.classes.index(label)
    return float(called.float().mean()) if len(x) else float("nan")
