"""Judges of timbre: networks trained on recordings alone that are asked what an output sounds like.

``style_target_rate`` asks the ordinary judge (which of the instruments is this?); an equaliser alone
reaches 1.00 with it, so it is never quoted alone. ``style_beyond_eq`` asks the hard judge (the target
instrument, or an equalised other one?); it is meaningless far outside the data, where a collapsed
generator can fool it. Read both together, with the content metrics, beside the control rows.

Both see log-mel spectra of the *decoded audio*, which no discriminator sees, in windows of about one
second with 50 % overlap. A window of silence is counted as not reached.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.features import FeatureConfig
from retimbre.errors import RetimbreError
from retimbre.models.classifier import SpectrumClassifier, load_networks, probabilities
from retimbre.training.classifier import windows

REPRESENTATION = "mel"


class Judges:
    """The trained classifier and judges of ``data/models/classifier``.

    Attributes: ``features`` (FeatureConfig of the spectra they expect), ``domains``, ``window_frames``,
    ``networks`` (name -> SpectrumClassifier: ``instrument``, ``style``, ``hard_<domain>``).
    """

    def __init__(self, networks: dict[str, SpectrumClassifier], description: dict):
        self.networks = networks
        self.features = FeatureConfig.from_dict(description["features"])
        self.domains: list[str] = list(description["domains"])
        self.window_frames: int = int(description["window_frames"])

    @classmethod
    def load(cls, folder: str | Path) -> "Judges":
        """Read a trained classifier's folder. Raises RetimbreError when it is not there."""
        return cls(*load_networks(Path(folder)))

    def _probabilities(self, name: str, db: np.ndarray) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, classes) and which windows sound (B,) of levels (F, T)."""
        if name not in self.networks:
            raise RetimbreError(f"The trained classifier has no network {name!r}; its domains are {', '.join(self.domains)}.")
        if db.shape[1] < self.window_frames:  # a clip under a second is heard over and over
            db = np.tile(db, (1, -(-self.window_frames // max(1, db.shape[1]))))
        network = self.networks[name]
        x = windows(db.T, self.window_frames, max(1, self.window_frames // 2))
        sounding = x.amax(dim=(1, 2)) > network.config.top_db - network.config.range_db
        return probabilities(network, x), sounding

    def _rate(self, name: str, db: np.ndarray, label: str) -> float:
        p, sounding = self._probabilities(name, db)
        called = p.argmax(dim=1) == self.networks[name].config.classes.index(label)
        return float((called & sounding).float().mean())

    def style_target_rate(self, mel_db: np.ndarray, target: str) -> float:
        """Share of windows of log-mel levels (F, T) that the ordinary judge calls ``target``."""
        return self._rate("style", mel_db, target)

    def style_beyond_eq(self, mel_db: np.ndarray, target: str) -> float:
        """Share of windows of log-mel levels (F, T) that the hard judge takes for real ``target`` rather than equalised source."""
        return self._rate(f"hard_{target}", mel_db, target)

    def hard_probability(self, mel_db: np.ndarray, target: str) -> float:
        """Mean probability with which the hard judge takes the windows for real ``target``: finer than the rate."""
        p, sounding = self._probabilities(f"hard_{target}", mel_db)
        return float((p[:, 1] * sounding).mean())

    def embed(self, mel_db: np.ndarray) -> np.ndarray:
        """Mean embedding (d,) of the ordinary judge, for distances between clips."""
        network = self.networks["style"]
        if mel_db.shape[1] < self.window_frames:
            mel_db = np.tile(mel_db, (1, -(-self.window_frames // max(1, mel_db.shape[1]))))
        with torch.no_grad():
            return network.embed(windows(mel_db.T, self.window_frames, max(1, self.window_frames // 2))).mean(dim=0).numpy()
