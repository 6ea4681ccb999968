"""TimbreTron's two tricks of sampling: reverse generation and beam search, with and without each.

``python -m studies.wavenet_tricks``, in the repository's root, trains the WaveNet of params.yaml twice from
the same seed, forwards and backwards, hears both with several widths of beam search on validation pieces,
and prints the table of docs/vocoders.md. It writes nothing.
"""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params
from retimbre.audio.features import spectrum_of
from retimbre.datasets.packed.data import Data
from retimbre.errors import RetimbreError, run
from retimbre.evaluation.bench.likelihood import network_figures
from retimbre.evaluation.bench.testset import PERFORMANCE, Item, load_items
from retimbre.metrics.harmony import content_onset_f1
from retimbre.metrics.spectral import feature_lsd, paired_lsd, paired_mrstft
from retimbre.training.devices import make_fabric, set_threads
from retimbre.training.fit import Run
from retimbre.vocoders.wavenet.params import Params
from retimbre.vocoders.wavenet.train import fit
from retimbre.vocoders.wavenet.vocoder import WaveNetVocoder

BEAMS = ((1, 1024), (8, 512))  # width, step in samples
SECONDS, PER_DIRECTION = 3.0, 3  # of each piece that is heard, and pieces
MEASURED = ("feature_lsd", "lsd", "mrstft", "onset_f1", "s_per_s")
Row = dict[str, str | int | float]


def train_tricks(data: Data, p: Params, representation: str, run: Run) -> dict[str, WaveNetVocoder]:
    """``forwards`` and ``backwards``: trained with ``p`` and the run's seed, that one setting apart."""
    directions = {"forwards": False, "backwards": True}
    return {
        name: fit(data, p.model_copy(update={"reverse": reverse}), representation, run, {})[0]
        for name, reverse in directions.items()
    }


def trick_rows(
    vocoders: Mapping[str, WaveNetVocoder],
    data: Data,
    split: str,
    beams: Sequence[tuple[int, int]] = BEAMS,
    seed: int = 0,
    seconds: float = SECONDS,
    per_direction: int = PER_DIRECTION,
) -> list[Row]:
    """One row per network and (width, step): means over the first paired pieces of both directions.

    ``feature_lsd`` (dB, what the beams are chosen by, or close to it), ``lsd``, ``mrstft``, ``onset_f1``
    (detected within 50 ms of the recording's), ``s_per_s`` (processor seconds per second of audio) and, of
    the network, the figures of ``likelihood``. Raises RetimbreError where the split has no paired pieces.
    """
    first = next(iter(vocoders.values()))
    items: list[Item] = []
    if data.audio.excerpts(split=split, performance=PERFORMANCE):
        items = load_items(data.audio, data.features, first.representation, first.domains, split)
    if not items:
        raise RetimbreError(
            f"the {split} split has no paired pieces to hear the tricks on: set dataset.source to soundfont."
        )
    by_direction: dict[str, list[Item]] = {}
    for item in items:
        by_direction.setdefault(item.direction, []).append(item)
    heard = [item for pieces in by_direction.values() for item in pieces[:per_direction]]
    rows: list[Row] = []
    for name, vocoder in vocoders.items():
        clips = [_beginning(vocoder, item, seconds) for item in heard]
        likelihood = network_figures(vocoder, clips)
        _, spectrum_db, domain = clips[0]
        vocoder.wavenet(spectrum_db[:, :9], domain, 8 * vocoder.features.hop_length)  # compiles; not timed
        for width, step in beams:
            scores = np.mean([_scores(vocoder, *clip, width, step, seed) for clip in clips], 0)
            measured = dict(zip(MEASURED, scores.tolist(), strict=True))
            given = {"network": name, "beams": width, "step": step, "seed": seed}
            rows.append(given | measured | likelihood)
    return rows


def _beginning(vocoder: WaveNetVocoder, item: Item, seconds: float) -> tuple[np.ndarray, np.ndarray, str]:
    """Whole frames of the true target: audio (frames * hop,), spectrum (F, frames + 1), instrument."""
    target, hop = item.target, vocoder.features.hop_length
    frames = min(int(seconds * vocoder.features.sample_rate), len(target.audio)) // hop
    return target.audio[: frames * hop], target.level_db[:, : frames + 1], item.target_domain


def _scores(
    vocoder: WaveNetVocoder,
    true: np.ndarray,
    spectrum_db: np.ndarray,
    domain: str,
    width: int,
    step: int,
    seed: int,
) -> tuple[float, ...]:
    """The values of :data:`MEASURED`."""
    config, rate = vocoder.features, vocoder.features.sample_rate
    began = time.process_time()
    made = vocoder.wavenet(spectrum_db, domain, len(true), seed, beams=width, beam_step=step)
    took = (time.process_time() - began) / (len(true) / rate)
    own_db = spectrum_of(made, config, vocoder.representation)
    distance = feature_lsd(own_db, spectrum_db, vocoder.top_db, config.range_db)
    onsets = content_onset_f1(made, true, rate)
    return distance, paired_lsd(made, true, rate), paired_mrstft(made, true), onsets, took


def main() -> None:
    p = params.load("seed", "machine", "vocoder")
    set_threads()
    fabric = make_fabric(p.machine.accelerator, precision=p.vocoder.wavenet.precision)
    data = Data()
    vocoders = train_tricks(data, p.vocoder.wavenet, p.vocoder.representation, Run(p.seed, fabric, p.machine))
    table = pandas.DataFrame(trick_rows(vocoders, data, "validation", seed=p.seed))
    print(table.to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    run(main)
