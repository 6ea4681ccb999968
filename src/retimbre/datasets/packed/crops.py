"""Random training crops, a function of the step alone.

Batch ``step`` is drawn from ``np.random.default_rng([seed, stream, step])``: it is the same whenever and
wherever it is drawn, so a resumed training needs no loader state and goes on as if it had never stopped.
Positions are uniform over all places where a crop fits, hence every second of audio counts the same.

Of a training in several processes each draws the places of the whole batch and reads its share of them:
``part`` is (rank, processes), and the shares in order of rank are the batch that one process would have
drawn.
"""

import numpy as np
import torch
from torch import Tensor

from retimbre.datasets.packed.format import Excerpt, PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError


class Positions:
    """All places in some excerpts where a crop of ``frames`` frames fits.

    Raises RetimbreError when there is none; ``parameter``: the one in params.yaml that asks for so many.
    """

    def __init__(
        self, excerpts: list[Excerpt], frames: int, what: str, parameter: str = "", unit: str = "frames"
    ):
        self.excerpts = [excerpt for excerpt in excerpts if excerpt.length >= frames]
        if not self.excerpts:
            longest = max((excerpt.length for excerpt in excerpts), default=0)
            raise RetimbreError(
                f"no {what} excerpt is {frames} {unit} long (the longest has {longest}): "
                f"{f'lower {parameter} in params.yaml, or ' if parameter else ''}give longer recordings."
            )
        self.ends = np.cumsum([excerpt.length - frames + 1 for excerpt in self.excerpts])

    def draw(self, rng: np.random.Generator, count: int) -> list[tuple[Excerpt, int]]:
        """``count`` places: excerpt and first frame."""
        places = rng.integers(self.ends[-1], size=count)
        rows = np.searchsorted(self.ends, places, side="right")
        starts = places - np.concatenate(([0], self.ends))[rows]
        return [(self.excerpts[row], int(start)) for row, start in zip(rows, starts, strict=True)]


def _share(batch_size: int, part: tuple[int, int]) -> slice:
    """Which of a batch's items (rank, processes) reads; the batch must divide into equal shares."""
    rank, processes = part
    if batch_size % processes:
        raise RetimbreError(
            f"a batch of {batch_size} crops does not divide among {processes} processes: make it a multiple "
            f"of {processes}."
        )
    size = batch_size // processes
    return slice(rank * size, (rank + 1) * size)


class FeatureCrops:
    """Crops of ``frames`` frames of one representation, domain and split.

    ``batch_size`` is that of all processes. Streams with the same seed and number but another representation
    draw the same places.
    """

    def __init__(
        self,
        features: PackedFeatures,
        representation: str,
        domain: str,
        split: str,
        frames: int,
        batch_size: int,
        seed: int,
        stream: int,
        part: tuple[int, int] = (0, 1),
        parameter: str = "",
    ):
        self.features, self.representation = features, representation
        self.frames, self.batch_size, self.seed, self.stream = frames, batch_size, seed, stream
        self.share = _share(batch_size, part)
        self.positions = Positions(
            features.excerpts(domain=domain, split=split), frames, f"{split} {domain}", parameter
        )

    def batch(self, step: int) -> Tensor:
        """Batch number ``step``, or this process's share of it: (B, F, T) float32 dB."""
        rng = np.random.default_rng([self.seed, self.stream, step])
        places = self.positions.draw(rng, self.batch_size)[self.share]
        crops = [
            self.features.read(e, start, start + self.frames, representation=self.representation)
            for e, start in places
        ]
        return torch.from_numpy(np.stack(crops)).float().transpose(1, 2).contiguous()  # (B, F, T)


class AudioFeatureCrops:
    """Crops of audio with the features around it, for networks that map one to the other.

    A crop of ``frames`` frames has ``frames * hop_length`` samples and ``frames + 1`` frames of features:
    feature frame t is centred on audio sample t * hop_length, the last on the sample after the crop.
    Each item's domain is drawn first, so that domains count the same whatever their amount of audio.
    """

    def __init__(
        self,
        audio: PackedAudio,
        features: PackedFeatures,
        representations: list[str],
        domains: list[str],
        split: str,
        frames: int,
        batch_size: int,
        seed: int,
        stream: int,
        parameter: str = "",
    ):
        self.audio, self.features, self.representations = audio, features, representations
        self.frames, self.batch_size, self.seed, self.stream = frames, batch_size, seed, stream
        self.hop_length = features.config.hop_length
        self.audio_of = {excerpt.id: excerpt for excerpt in audio.index}
        self.positions = [
            Positions(features.excerpts(domain=d, split=split), frames + 1, f"{split} {d}", parameter)
            for d in domains
        ]
        for excerpt in (excerpt for positions in self.positions for excerpt in positions.excerpts):
            source = self.audio_of.get(excerpt.id)
            if source is None or features.config.frames(source.length) != excerpt.length:
                raise RetimbreError(
                    f"{features.folder} was not made from {audio.folder} as it is now: run `dvc repro "
                    "features`."
                )

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch number ``step``: audio (B, frames * hop_length) float32, domain (B,) int64 (place in
        ``domains``) and each representation (B, F, frames + 1) float32 dB.
        """
        rng = np.random.default_rng([self.seed, self.stream, step])
        domains = rng.integers(len(self.positions), size=self.batch_size)
        places = [self.positions[domain].draw(rng, 1)[0] for domain in domains]
        hop = self.hop_length
        audio = [
            self.audio.read(self.audio_of[e.id], start * hop, (start + self.frames) * hop)
            for e, start in places
        ]
        batch = {
            "audio": torch.from_numpy(np.stack(audio)),
            "domain": torch.from_numpy(domains.astype(np.int64)),
        }
        for name in self.representations:
            crops = [
                self.features.read(e, start, start + self.frames + 1, representation=name)
                for e, start in places
            ]
            batch[name] = torch.from_numpy(np.stack(crops)).float().transpose(1, 2).contiguous()  # (B, F, T)
        return batch


class AudioCrops:
    """Crops of ``samples`` samples of the audio of one domain and split: :class:`FeatureCrops` of audio."""

    def __init__(
        self,
        audio: PackedAudio,
        domain: str,
        split: str,
        samples: int,
        batch_size: int,
        seed: int,
        stream: int,
        parameter: str = "",
    ):
        self.audio, self.samples, self.batch_size = audio, samples, batch_size
        self.seed, self.stream = seed, stream
        excerpts = audio.excerpts(domain=domain, split=split)
        self.positions = Positions(excerpts, samples, f"{split} {domain}", parameter, "samples")

    def batch(self, step: int) -> np.ndarray:
        """Batch number ``step``: (B, N) float32."""
        rng = np.random.default_rng([self.seed, self.stream, step])
        places = self.positions.draw(rng, self.batch_size)
        return np.stack([self.audio.read(e, start, start + self.samples) for e, start in places])
