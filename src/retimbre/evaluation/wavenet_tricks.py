"""What TimbreTron's two tricks of sampling, reverse generation and beam search, gain: the same WaveNet with and without each.

``train_tricks`` trains the network of the params twice from the same seed, forwards and backwards; ``trick_rows`` hears networks with
several widths of beam search on the paired pieces. ``python -m retimbre.evaluation.wavenet_tricks``, in the repository's root, does both
by params.yaml on the validation split and prints the table; it writes nothing.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from retimbre import params
from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError, run
from retimbre.evaluation.bench.likelihood import part_figures
from retimbre.evaluation.bench.testset import PERFORMANCE, Item, load_items
from retimbre.metrics.harmony import content_onset_f1
from retimbre.metrics.spectral import feature_lsd, paired_lsd, paired_mrstft
from retimbre.params import Vocoder as VocoderParams
from retimbre.training.devices import set_threads
from retimbre.vocoders.wavenet.train import fit_wavenet
from retimbre.vocoders.wavenet.vocoder import SETTINGS, WaveNetVocoder

BEAMS = ((1, 1024), (8, 512))  # width, step in samples
SECONDS, PER_DIRECTION = 3.0, 3  # of each piece that is heard, and pieces
Row = dict[str, str | int | float]


def train_tricks(audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int) -> dict[str, WaveNetVocoder]:
    """``forwards`` and ``backwards``: trained with ``p`` and this seed, that one setting apart."""
    parts = {}
    for name, reverse in (("forwards", False), ("backwards", True)):
        now = p.model_copy(update={"wavenet_reverse": reverse})
        network, _ = fit_wavenet(audio, features, now, seed, None, None)
        config = {
            "domains": features.domains,
            "representation": p.representation,
            "features": features.config.to_dict(),
            "top_db": features.statistics[p.representation]["top_db"],
            "wavenet": network.config.to_dict(),
            **{f"wavenet_{setting}": getattr(now, f"wavenet_{setting}") for setting in SETTINGS},
        }
        parts[name] = WaveNetVocoder(network.cpu(), config, {})
    return parts


def trick_rows(
    parts: Mapping[str, WaveNetVocoder],
    audio: PackedAudio,
    features: PackedFeatures,
    split: str,
    beams: Sequence[tuple[int, int]] = BEAMS,
    seed: int = 0,
    seconds: float = SECONDS,
    per_direction: int = PER_DIRECTION,
) -> list[Row]:
    """One row per network and (width, step): means over the first paired pieces of both directions, real levels.

    ``feature_lsd`` (dB, what the beams are chosen by, or close to it), ``lsd``, ``mrstft``, ``onset_f1`` (detected within 50 ms of the
    recording's), ``s_per_s`` (processor seconds per second of audio) and, of the network, the figures of ``likelihood``. Raises
    RetimbreError where the split has no paired pieces.
    """
    first = next(iter(parts.values()))
    paired = audio.excerpts(split=split, performance=PERFORMANCE)
    if not paired or not (items := load_items(audio, features, first.representation, first.domains, split)):
        raise RetimbreError(f"the {split} split has no paired pieces to hear the tricks on: set dataset.source to soundfont.")
    rows: list[Row] = []
    for name, part in parts.items():
        heard = [i for d in dict.fromkeys(item.direction for item in items) for i in [x for x in items if x.direction == d][:per_direction]]
        likelihood = part_figures(part, [_beginning(part, item, seconds) for item in heard])
        part.wavenet(heard[0].target.level_db[:, :9], heard[0].target_domain, 8 * part.features.hop_length)  # compiled before it is timed
        for width, step in beams:
            scores = np.mean([_scores(part, item, seconds, width, step, seed) for item in heard], 0)
            measured = dict(zip(("feature_lsd", "lsd", "mrstft", "onset_f1", "s_per_s"), scores.tolist(), strict=True))
            rows.append({"network": name, "beams": width, "step": step, "seed": seed, **measured, **likelihood})
    return rows


def _beginning(part: WaveNetVocoder, item: Item, seconds: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Whole frames of the true target: audio (frames * hop,), levels (F, frames + 1), instrument."""
    hop = part.features.hop_length
    frames = min(int(seconds * part.features.sample_rate), len(item.target.audio)) // hop
    return item.target.audio[: frames * hop], item.target.level_db[:, : frames + 1], item.target_domain


@torch.no_grad()
def _scores(part: WaveNetVocoder, item: Item, seconds: float, width: int, step: int, seed: int) -> tuple[float, ...]:
    true, level_db, domain = _beginning(part, item, seconds)
    began, rate = time.process_time(), part.features.sample_rate
    made = part.wavenet(level_db, domain, len(true), seed, beams=width, beam_step=step)
    took = (time.process_time() - began) / (len(true) / rate)
    own_db = decibels(FeatureExtractor(part.features)(torch.from_numpy(made)[None], part.representation))[0].numpy()
    distance = feature_lsd(own_db, level_db, part.top_db, part.features.range_db)
    return distance, paired_lsd(made, true, rate), paired_mrstft(made, true, rate), content_onset_f1(made, true, rate), took


def table(rows: Sequence[Row]) -> str:
    """Rows as text, one column per figure."""
    names = list(rows[0])
    cells = [names, *([f"{row[n]:.3f}" if isinstance(row[n], float) else str(row[n]) for n in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def main() -> None:
    p = params.load("seed", "vocoder")
    audio, features = PackedAudio(Path("data/resampled")), PackedFeatures(Path("data/features"))
    set_threads()
    print(table(trick_rows(train_tricks(audio, features, p.vocoder, p.seed), audio, features, "validation", seed=p.seed)))


if __name__ == "__main__":
    run(main)
