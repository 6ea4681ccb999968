"""Features that a CycleGAN learns from within seconds: two domains of 16 bands, paired validation pieces."""

from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedFeatures
from retimbre.section import Machine
from retimbre.systems.cyclegan import train
from retimbre.systems.cyclegan.params import Params
from retimbre.systems.cyclegan.system import Change
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.fit import History, Run
from tests.toys.project import smoke

BINS, FRAMES, TOP_DB = 16, 96, 0.0
CONFIG = FeatureConfig(16000, 256, "retimbre", 32.7, 84, 12, 1024, BINS, 60.0)


def spectrum(domain: str, seed: int) -> np.ndarray:
    """Random notes, (T, F) in dB: ``flat`` ones last, ``steep`` ones decay and are darker."""
    rng = np.random.default_rng(seed)
    db = np.full((FRAMES, BINS), -55.0)
    start = 0
    while start < FRAMES:
        length, bin_ = int(rng.integers(6, 16)), int(rng.integers(2, BINS - 4))
        time = np.arange(min(length, FRAMES - start))[:, None]
        height = np.exp(-0.5 * (np.arange(BINS) - bin_) ** 2)[None] * 50
        fall, slope = (0.0, 0.0) if domain == "flat" else (1.5, 1.0)
        db[start : start + length] = -55 + np.maximum(height - fall * time - slope * np.arange(BINS), 0)
        start += length
    return db + rng.normal(0, 1, db.shape)


def write_features(folder: Path, paired: bool = True) -> PackedFeatures:
    """``flat`` and ``steep``: 6 training and 3 validation excerpts each."""
    statistics = {"top_db": TOP_DB, "mean_db": {}, "std_db": {}}
    with FeatureWriter(folder, CONFIG.to_dict(), 100) as writer:
        for n, domain in enumerate(("flat", "steep")):
            train_pieces = [spectrum(domain, 10 * n + i) for i in range(6)]
            held_out = [spectrum(domain, 100 + i + (0 if paired else 10 * n)) for i in range(3)]
            for split, pieces in (("train", train_pieces), ("validation", held_out)):
                for i, piece in enumerate(pieces):
                    performance = "1" if paired and split == "validation" else ""
                    name = f"{split}-{domain}-{i}"
                    excerpt = Excerpt(name, domain, split, f"{split}{i}", performance, 0, 0, len(piece))
                    writer.add(excerpt, {"mel": piece.astype(np.float16)})
            clipped = np.concatenate(train_pieces).clip(TOP_DB - 60, TOP_DB)
            statistics["mean_db"][domain] = clipped.mean(0).tolist()
            statistics["std_db"][domain] = clipped.std(0).tolist()
        writer.set_statistics({"mel": statistics})
    return PackedFeatures(folder)


def data_of(features: PackedFeatures) -> Data:
    """The data of a training that reads nothing but features."""
    data = Data()
    data.features = features
    return data


def model_params(**changes: object) -> Params:
    """The smoke profile's ``model`` for these features, with ``changes``."""
    values = smoke()["model"] | {
        "representation": "mel",
        "generator_channels": 16,
        "generator_blocks": 1,
        "discriminator_channels": 16,
        "batch_size": 4,
        "crop_frames": 32,
        "steps": 20,
        "pool_size": 8,
    }
    return Params.model_validate(values | changes)


def run_of(scratch: Scratch | None = None, fabric: Fabric | None = None, **machine: object) -> Run:
    """Seed 3 on the CPU, with log points and checkpoints that suit a few steps."""
    settings = {"log_every": 5, "checkpoint_every": 5} | machine
    return Run(3, fabric or make_fabric("cpu"), Machine(**settings), scratch)


def fit(features: PackedFeatures, run: Run | None = None, **changes: object) -> tuple[Change, History]:
    """A CycleGAN trained on these features; ``changes`` of its params."""
    return train.fit(data_of(features), model_params(**changes), run or run_of())
