"""What is measured on a cell's outputs: levels first, then two ways to audio.

The default vocoder hears what it was trained for: the pipeline's features and instruments. ``filter_`` metrics are of
audio made without training, the same way for every representation: the source's STFT, each bin changed by as many dB
as the generator changed the representation there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.classifiers.panel import Judges
from retimbre.evaluation.bench.rows import Row, ThroughLevels, as_loud
from retimbre.evaluation.bench.testset import Item
from retimbre.evaluation.results.table import add_skill, make_table
from retimbre.metrics import spectral as m
from retimbre.vocoders.catalogue import Vocoder

N_FFT = 1024  # samples, of the filter; hops are the features' own


def filtered(source: np.ndarray, gain_db: np.ndarray, config: FeatureConfig, representation: str) -> np.ndarray:
    """``source`` (N,) with its STFT changed by ``gain_db`` (F, T) of a representation, interpolated between bins; phases stay."""
    window, hop = torch.hann_window(N_FFT), config.hop_length
    spectrum = torch.stft(torch.from_numpy(source), N_FFT, hop, window=window, return_complex=True)  # (K, T)
    at = np.arange(N_FFT // 2 + 1) * config.sample_rate / N_FFT
    frames = min(spectrum.shape[1], gain_db.shape[1])
    known = config.frequencies_hz(representation)
    gain = np.stack([np.interp(at, known, gain_db[:, t]) for t in range(frames)], axis=1)
    gain = np.pad(gain, ((0, 0), (0, spectrum.shape[1] - frames)), mode="edge")
    changed = spectrum * torch.from_numpy(10 ** (gain / 20)).to(spectrum.dtype)
    return torch.istft(changed, N_FFT, hop, window=window, length=len(source)).numpy().astype(np.float32)


class CellScorer:
    """Scores levels of the pieces of a test set. ``vocoder``, ``judges``: None where they know other features or instruments."""

    def __init__(self, extractor: FeatureExtractor, representation: str, top_db: float, judges: Judges | None, vocoder: Vocoder | None):
        self.extractor, self.config = extractor, extractor.config
        self.representation, self.top_db, self.judges, self.vocoder = representation, top_db, judges, vocoder

    @torch.no_grad()
    def levels_of(self, audio: np.ndarray, representation: str) -> np.ndarray:
        return decibels(self.extractor(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None], representation))[0].numpy()

    def levels(self, item: Item, out: np.ndarray) -> dict[str, float]:
        """Metrics of levels (F, T) against the true target, before any vocoder."""
        c, floor = self.config, self.top_db - self.config.range_db
        frames = min(x.shape[1] for x in (out, item.source.level_db, item.target.level_db))
        out, source, true = (x[:, :frames].clip(floor, self.top_db) for x in (out, item.source.level_db, item.target.level_db))
        values = {
            "feature_lsd": m.feature_lsd(out, true, self.top_db, c.range_db),
            "change_db": float(np.abs(out - source).mean()),
        }
        if self.representation == "cqt":
            values |= {
                "chroma_ratio": m.content_chroma_ratio(out, source, true, c.cqt_bins_per_octave),
                "peak_ratio": m.content_peak_ratio(out, source, true, c.cqt_bins_per_octave),
            }
        return values

    def heard(self, item: Item, audio: np.ndarray, prefix: str = "") -> dict[str, float]:
        """Metrics of audio (N,) as loud as the source."""
        rate = self.config.sample_rate
        audio = m.match_length(audio, len(item.target.audio))
        values = {
            "paired_lsd": m.paired_lsd(audio, item.target.audio, rate),
            "paired_mrstft": m.paired_mrstft(audio, item.target.audio, rate),
        }
        if self.judges is not None:
            mel_db = self.levels_of(audio, "mel")
            values |= {
                "target_rate": self.judges.style_target_rate(mel_db, item.target_domain),
                "beyond_eq": self.judges.style_beyond_eq(mel_db, item.target_domain),
            }
        return {prefix + name: value for name, value in values.items()}

    def score(self, item: Item, system: Any, seed: int) -> dict[str, float]:
        """Everything that is measured of ``system`` (``transfer(level_db, target)``) on one piece in one direction."""
        out = system.transfer(item.source.level_db, item.target_domain)
        values = self.levels(item, out)
        frames = min(out.shape[1], item.source.level_db.shape[1])
        gain = out[:, :frames] - item.source.level_db[:, :frames].clip(self.top_db - self.config.range_db, self.top_db)
        audio = filtered(item.source.audio, gain, self.config, self.representation)
        values |= self.heard(item, as_loud(audio, item.source.audio, self.config.sample_rate), "filter_")
        if self.vocoder is not None:
            row = Row("cell", ThroughLevels(system, self.vocoder, self.representation, self.vocoder.kind))
            values |= self.heard(item, row.render(item, seed).audio)
        return values


def records(scorer: CellScorer, items: list[Item], system: Any, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the long table: the cell's, and the feature LSD of the controls that ``skill`` is measured by."""
    for item in items:
        key = {"direction": item.direction, "item": item.piece, "stratum": item.stratum}
        for name, value in scorer.score(item, system, seed).items():
            yield {**key, "system": "cell", "metric": name, "value": value}
        for control, clip in (("copy", item.source), ("oracle", item.oracle)):
            yield {**key, "system": control, "metric": "feature_lsd", "value": scorer.levels(item, clip.level_db)["feature_lsd"]}


def tabulate(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """``items`` (direction/piece), ``strata``, ``values`` (metric -> one number per item, null where undefined) and
    ``means`` (metric -> mean over items), with ``skill``.
    """
    table = add_skill(make_table(rows))
    own = table[table.system == "cell"]
    wide = own.assign(key=own.direction + "/" + own["item"]).pivot(index="key", columns="metric", values="value")
    strata = own.assign(key=own.direction + "/" + own["item"]).drop_duplicates("key").set_index("key").stratum
    names = sorted(wide.columns)
    return {
        "means": {name: float(wide[name].mean()) for name in names if wide[name].notna().any()},
        "items": list(wide.index),
        "strata": [strata[key] for key in wide.index],
        "values": {name: [None if not np.isfinite(x) else float(f"{x:.5g}") for x in wide[name]] for name in names},
    }
