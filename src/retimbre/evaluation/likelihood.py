"""How well the WaveNet predicts, and whether it listens to the pitch that it is given.

A falling likelihood says nothing about audio: most of it is earned by short-term prediction. The gap
between the right features and the same moved by a semitone is the number to watch: 0.06 bit was
measured for pitchless noise and 1.04 for a pitch that is kept.
"""

import math

import numpy as np
import torch

from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.systems.vocoder import Vocoder
from retimbre.systems.wavenet import encode_audio
from retimbre.training.vocoder import wavenet_loss

SECONDS = 2.0  # of each excerpt: enough for a stable mean, and quick


@torch.no_grad()
def wavenet_figures(model: Vocoder, audio: PackedAudio, features: PackedFeatures, split: str) -> dict[str, float]:
    """``wavenet_nll_bits``, and by how many bits the likelihood falls with the features a semitone up
    (``wavenet_cond_gap_pitch``, log-frequency features only) and with another excerpt's
    (``wavenet_cond_gap_other``); empty without a WaveNet. Bits depend on pre-emphasis and gain: never compare them across codecs.
    """
    if "wavenet" not in model.parts:
        return {}
    hop, representation = model.features.hop_length, model.representation
    low = model.top_db - model.features.range_db
    frames = {e.id: e for e in features.index}
    batches = []
    for excerpt in audio.excerpts(split=split):
        count = min(int(SECONDS * model.features.sample_rate), excerpt.length) // hop
        x = audio.read(excerpt, 0, count * hop)
        codes = encode_audio(x, model.config["wavenet_preemphasis"], model.config["wavenet_gain"]).astype(np.int64)
        level_db = np.asarray(features.read(frames[excerpt.id], 0, count + 1, representation), np.float32).T.clip(low, model.top_db)
        batches.append(
            (torch.from_numpy(codes)[None], torch.from_numpy(level_db)[None], torch.tensor([model.domains.index(excerpt.domain)]))
        )

    def bits(change) -> float:
        total = [
            wavenet_loss(model.parts["wavenet"].network, codes, change(i, level_db), domain).item()
            for i, (codes, level_db, domain) in enumerate(batches)
        ]
        return float(np.mean(total)) / math.log(2)

    def other(i: int, level_db: torch.Tensor) -> torch.Tensor:
        moved = batches[(i + 1) % len(batches)][1]
        return moved[..., : level_db.shape[-1]] if moved.shape[-1] >= level_db.shape[-1] else level_db

    right = bits(lambda i, level_db: level_db)
    figures = {"wavenet_nll_bits": right, "wavenet_cond_gap_other": bits(other) - right}
    if representation == "cqt":
        semitone = max(1, model.features.cqt_bins_per_octave // 12)
        figures["wavenet_cond_gap_pitch"] = bits(lambda i, level_db: torch.roll(level_db, semitone, 1)) - right
    return figures
