"""A folder of features that a CycleGAN learns from within seconds: two domains of 16 bands, paired validation pieces."""

from pathlib import Path

import numpy as np

from retimbre import params
from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedFeatures

BINS, TOP_DB = 16, 0.0
CONFIG = FeatureConfig(16000, 256, "retimbre", 32.7, 84, 12, 1024, BINS, 60.0)
PROFILE = Path(__file__).parents[2] / "profiles/smoke.yaml"


def levels(domain: str, seed: int, frames: int = 96) -> np.ndarray:
    """Notes of random height and length as (T, F) dB: ``flat`` ones go on, ``steep`` ones decay and have a darker spectrum."""
    rng = np.random.default_rng(seed)
    db = np.full((frames, BINS), -55.0)
    start = 0
    while start < frames:
        length, bin_ = int(rng.integers(6, 16)), int(rng.integers(2, BINS - 4))
        time = np.arange(min(length, frames - start))[:, None]
        height = np.exp(-0.5 * (np.arange(BINS) - bin_) ** 2)[None] * 50
        fall, slope = (0.0, 0.0) if domain == "flat" else (1.5, 1.0)
        db[start : start + length] = -55 + np.maximum(height - fall * time - slope * np.arange(BINS), 0)
        start += length
    return db + rng.normal(0, 1, db.shape)


def write_features(folder: Path, paired: bool = True) -> PackedFeatures:
    """``flat`` and ``steep``: 6 training and 3 validation excerpts each."""
    means = {}
    with FeatureWriter(folder, CONFIG.to_dict(), 100) as writer:
        for n, domain in enumerate(("flat", "steep")):
            train = [levels(domain, 10 * n + i) for i in range(6)]
            means[domain] = np.concatenate(train).clip(TOP_DB - 60, TOP_DB)
            held_out = [levels(domain, 100 + i + (0 if paired else 10 * n)) for i in range(3)]
            for split, pieces in (("train", train), ("validation", held_out)):
                for i, piece in enumerate(pieces):
                    performance = "1" if paired and split == "validation" else ""
                    excerpt = Excerpt(f"{split}-{domain}-{i}", domain, split, f"{split}{i}", performance, 0, 0, len(piece))
                    writer.add(excerpt, {"mel": piece.astype(np.float16)})
        writer.set_statistics(
            {
                "mel": {
                    "top_db": TOP_DB,
                    "mean_db": {d: x.mean(0).tolist() for d, x in means.items()},
                    "std_db": {d: x.std(0).tolist() for d, x in means.items()},
                }
            }
        )
    return PackedFeatures(folder)


def model_params(**changes: object) -> params.Model:
    """The smoke profile's ``model`` for these features, with some values changed; checked as a file's would be."""
    values = params.read(PROFILE).model.model_dump() | {
        "representation": "mel",
        "generator_channels": 16,
        "generator_blocks": 1,
        "discriminator_channels": 16,
        "batch_size": 4,
        "crop_frames": 32,
        "steps": 20,
        "log_every": 5,
        "checkpoint_every": 5,
        "pool_size": 8,
        "accelerator": "cpu",
    }
    return params.Model.model_validate(values | changes)
