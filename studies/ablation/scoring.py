"""Metrics of a cell's outputs: spectra first, then two ways to audio.

The default vocoder hears what it was trained for: the pipeline's features and instruments. ``filter_``
metrics are of audio made without training, the same way for every representation: the source's STFT, each
bin changed by as many dB as the generator changed the representation there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from retimbre.audio.chroma import pitch_class_fold
from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.audio.levels import loudness_lufs
from retimbre.classifiers.panel import Classifiers
from retimbre.evaluation.bench.rows import Row, Transferred
from retimbre.evaluation.bench.testset import Item
from retimbre.evaluation.results.table import add_skill, make_table
from retimbre.metrics import harmony as h
from retimbre.metrics import spectral as m
from retimbre.systems.base import Change, Spectral
from retimbre.vocoders.catalogue import Vocoder

N_FFT = 1024  # samples, of the filter; hops are the features' own


def filtered(
    source: np.ndarray, gain_db: np.ndarray, config: FeatureConfig, representation: str
) -> np.ndarray:
    """``source`` (N,) with its STFT changed by ``gain_db`` (F, T) of a representation; phases stay.

    Gains are interpolated between bins; the output is as loud as the source.
    """
    rate, hop = config.sample_rate, config.hop_length
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(torch.from_numpy(source), N_FFT, hop, window=window, return_complex=True)  # (F, T)
    at, known = np.arange(N_FFT // 2 + 1) * rate / N_FFT, config.frequencies_hz(representation)
    frames = min(spectrum.shape[1], gain_db.shape[1])
    gain = np.stack([np.interp(at, known, gain_db[:, t]) for t in range(frames)], axis=1)
    gain = np.pad(gain, ((0, 0), (0, spectrum.shape[1] - frames)), mode="edge")
    changed = spectrum * torch.from_numpy(10 ** (gain / 20)).to(spectrum.dtype)
    audio = torch.istft(changed, N_FFT, hop, window=window, length=len(source)).numpy()
    louder_db = loudness_lufs(source, rate) - loudness_lufs(audio, rate)
    return (audio * 10 ** (louder_db / 20)).astype(np.float32)


@dataclass(frozen=True)
class CellScorer:
    """Scores changes of spectra on test pieces; ``top_db``: of the training split.

    ``vocoder``, ``classifiers``: None where they know other features or instruments.
    """

    config: FeatureConfig
    representation: str
    top_db: float
    classifiers: Classifiers | None
    vocoder: Vocoder | None

    def spectra(self, item: Item, out: np.ndarray) -> dict[str, float]:
        """Metrics of a spectrum (F, T) against the true target, before any vocoder."""
        c, three = self.config, (out, item.source.level_db, item.target.level_db)
        frames = min(x.shape[1] for x in three)
        out, source, true = (x[:, :frames].clip(self.top_db - c.range_db, self.top_db) for x in three)
        values = {
            "feature_lsd": m.feature_lsd(out, true, self.top_db, c.range_db),
            "change_db": float(np.abs(out - source).mean()),
        }
        if self.representation == "cqt":
            fold = pitch_class_fold(c.frequencies_hz("cqt"))
            values |= {
                "chroma_ratio": h.content_chroma_ratio(out, source, true, fold),
                "peak_ratio": h.content_peak_ratio(out, source, true, fold),
            }
        return values

    def heard(self, item: Item, audio: np.ndarray, prefix: str = "") -> dict[str, float]:
        """Metrics of audio (N,) as loud as the source."""
        rate = self.config.sample_rate
        audio = m.match_length(audio, len(item.target.audio))
        values = {
            "paired_lsd": m.paired_lsd(audio, item.target.audio, rate),
            "paired_mrstft": m.paired_mrstft(audio, item.target.audio),
        }
        if self.classifiers is not None:
            mel_db = spectrum_of(audio, self.config, "mel")
            values |= {
                "target_rate": self.classifiers.style_target_rate(mel_db, item.target_domain),
                "beyond_eq": self.classifiers.style_beyond_eq(mel_db, item.target_domain),
            }
        return {prefix + name: value for name, value in values.items()}

    def score(self, item: Item, change: Change, seed: int) -> dict[str, float]:
        """Everything that is measured of a change of spectra on one piece in one direction."""
        source = item.source
        out = change.transfer(source.level_db, item.target_domain)
        values = self.spectra(item, out)
        frames = min(out.shape[1], source.level_db.shape[1])
        low = self.top_db - self.config.range_db
        gain = out[:, :frames] - source.level_db[:, :frames].clip(low, self.top_db)
        values |= self.heard(item, filtered(source.audio, gain, self.config, self.representation), "filter_")
        if self.vocoder is not None:
            row = Row("cell", Transferred(Spectral("cell", change, self.vocoder)))
            values |= self.heard(item, row.render(item, seed).audio)
        return values


def records(scorer: CellScorer, items: list[Item], change: Change, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the long table: the cell's, and the feature LSD of the controls that ``skill`` needs."""
    for item in items:
        key = {"direction": item.direction, "item": item.piece, "stratum": item.stratum}
        for name, value in scorer.score(item, change, seed).items():
            yield {**key, "system": "cell", "metric": name, "value": value}
        for control, clip in (("copy", item.source), ("oracle", item.oracle)):
            value = scorer.spectra(item, clip.level_db)["feature_lsd"]
            yield {**key, "system": control, "metric": "feature_lsd", "value": value}


def tabulate(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """``items`` (direction/piece), ``strata``, ``values`` (metric -> one number per item, null where
    undefined), ``means`` (metric -> mean over items); with ``skill``.
    """
    table = add_skill(make_table(rows))
    own = table[table.system == "cell"]
    own = own.assign(key=own.direction + "/" + own["item"])
    wide = own.pivot(index="key", columns="metric", values="value").sort_index(axis=1)
    strata = own.drop_duplicates("key").set_index("key").stratum
    return {
        "means": wide.mean().dropna().to_dict(),
        "items": list(wide.index),
        "strata": list(strata[wide.index]),
        "values": {name: [None if np.isnan(x) else float(f"{x:.5g}") for x in wide[name]] for name in wide},
    }
