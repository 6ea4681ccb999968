"""Pools of all instruments as a change of recordings: any instrument in, one of the recorded ones out."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from retimbre.audio.features import FeatureConfig
from retimbre.errors import check_target
from retimbre.nn.transcriber.content import Content
from retimbre.nn.weights import read_config, save_tensors, write_config
from retimbre.systems.knn.notes import OLDEST
from retimbre.systems.knn.retrieval import Pool, Search

ARRAYS = ("spectra", "content", "starts")  # of a pool


class Change:
    """A pool of each instrument and how it is asked (``systems.base.Coded``); nothing is trained."""

    sources, parameters = None, 0

    def __init__(self, pools: dict[str, dict[str, np.ndarray]], config: dict[str, Any]):
        """``pools``: of every instrument what its :class:`Pool` holds, the first three by their names."""
        self.config = config
        self.targets: list[str] = config["domains"]
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.top_db: float = config["top_db"]
        frequencies_hz = self.features.frequencies_hz(self.representation)
        self.pools = {
            domain: Pool(*(arrays[name] for name in ARRAYS), frequencies_hz, config["sounds"])
            for domain, arrays in pools.items()
        }
        self.search = Search(**config["search"])
        self.content = Content(self.features)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Content (T, C) of audio (N,) of RMS 0.1."""
        return self.content.frames(audio)

    def decode(self, code: np.ndarray, spectrum_db: np.ndarray, to: str) -> np.ndarray:
        """Content (T, C) to the spectrum in dB (F, T) of ``to``; the source's spectrum is not looked at."""
        check_target(to, self.targets)
        made = self.search.spectrum(self.pools[to], code, self.stride(to))
        return made.clip(self.top_db - self.features.range_db, self.top_db)

    def context(self, to: str) -> int:
        """Frames on each side that a frame of the output may depend on."""
        return self.stride(to) + OLDEST + -(-self.content.context // self.features.hop_length)

    def stride(self, to: str) -> int:
        """Frames of the grid on which chunks must start to come out as the whole does."""
        return self.content.grid // self.features.hop_length

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {f"{d}.{name}": getattr(pool, name) for d, pool in self.pools.items() for name in ARRAYS}
        tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
        save_tensors(folder / "pools.safetensors", tensors)
        write_config(folder, self.config)

    @classmethod
    def load(cls, folder: Path) -> "Change":
        """Read what ``save`` wrote."""
        config, arrays = read_config(folder), load_file(folder / "pools.safetensors")
        pools = {d: {name: arrays[f"{d}.{name}"] for name in ARRAYS} for d in config["domains"]}
        return cls(pools, config)
