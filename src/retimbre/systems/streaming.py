"""A recording in, the same music on another instrument out: features, generator, vocoder, levels.

Long recordings go through in chunks with context on both sides and a cross-fade, so that memory
does not grow with the length; chunks start on the frame grid and the networks' receptive fields end
inside the context, so that a chunk's middle is what it would be in one piece.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from retimbre.audio.cqt import quality_factor
from retimbre.audio.features import FeatureExtractor, decibels
from retimbre.audio.files import FileInfo, StreamReader, probe
from retimbre.audio.loudness import LoudnessMeter
from retimbre.audio.streaming import resample_blocks
from retimbre.errors import RetimbreError
from retimbre.progress import Progress
from retimbre.systems.cyclegan.system import CycleGan
from retimbre.vocoders.catalogue import Vocoder

MODELS = Path("data/models")
SHORTEST_S = 0.1
SILENCE_RMS = 1e-4  # -80 dB: nothing that could be transferred
PEAK_LIMIT = 0.99
LONGEST_WINDOW_S = 2.1  # of the analysis, if the features do not ask for a longer one: the lowest filter of 48 bins per octave from C1


@dataclass(frozen=True)
class Chunking:
    """Seconds of new audio per chunk, of context on each side (more where a generator sees further), and of the cross-fade between two."""

    body_s: float = 20.0
    context_s: float = 2.0
    fade_s: float = 0.05


class TimbreTransfer:
    """The trained models as one function on audio. ``TimbreTransfer.load()`` reads them."""

    def __init__(self, generator: CycleGan, vocoder: Vocoder, rms: float, chunking: Chunking = Chunking()):  # noqa: B008 (frozen)
        self.generator, self.vocoder, self.rms, self.chunking = generator, vocoder, rms, chunking
        self.extractor = FeatureExtractor(generator.features)
        self.sample_rate: int = generator.features.sample_rate
        self.quieter_db = 0.0  # by how much the last output had to be quieter than its input, not to clip
        if generator.features != vocoder.features or generator.representation != vocoder.representation:
            raise RetimbreError(
                "data/models/cyclegan and data/models/vocoder were trained on different features: run `dvc repro` to make them agree."
            )

    @classmethod
    def load(cls, models: str | Path = MODELS, chunking: Chunking = Chunking()) -> "TimbreTransfer":  # noqa: B008 (frozen)
        """Read the models that ``dvc repro`` trained. Raises RetimbreError when there are none."""
        models = Path(models)
        if not models.is_dir():
            raise RetimbreError(
                f"{models} does not exist, so no models are trained yet: run `dvc repro` in the repository's root, or give --models FOLDER."
            )
        generator, vocoder = CycleGan.load(models / "cyclegan"), Vocoder.load(models / "vocoder")
        return cls(generator, vocoder, vocoder.config["rms"], chunking)

    @property
    def domains(self) -> list[str]:
        return self.generator.domains

    @torch.no_grad()
    def levels(self, x: np.ndarray) -> np.ndarray:
        """Audio (N,) at the models' rate and level to dB (F, T)."""
        spectrum = self.extractor(torch.from_numpy(np.ascontiguousarray(x, np.float32))[None], self.generator.representation)
        return decibels(spectrum)[0].numpy()

    def convert(self, x: np.ndarray, to: str, kind: str, seed: int = 0, before: np.ndarray | None = None) -> np.ndarray:
        """One chunk (N,) at the models' rate and level; returns as many samples.

        ``before``: what was made of this chunk's first samples already; kinds that make up phases or samples continue it.
        """
        y = self.generator.transfer(self.levels(x), to)
        return self.vocoder.synthesise(kind, y, len(x), to, source=x, seed=seed, before=before)

    def _chunks(
        self, blocks: Iterable[np.ndarray], total: int, to: str, kind: str, seed: int, done: Callable[[int], None]
    ) -> Iterator[np.ndarray]:
        """Converted audio, piece by piece, from blocks of levelled input of ``total`` samples."""
        hop = self.generator.features.hop_length
        body, context = (max(hop, round(s * self.sample_rate / hop) * hop) for s in (self.chunking.body_s, self.chunking.context_s))
        network = self.generator.generator_to(to)  # it sees `context` frames and repeats itself every `stride` frames
        f = self.generator.features
        window_s = max(LONGEST_WINDOW_S, quality_factor(f.cqt_bins_per_octave) / f.cqt_fmin_hz)
        context = max(context, network.context * hop + round(window_s / 2 * self.sample_rate))
        body, context = (-(-samples // (network.stride * hop)) * network.stride * hop for samples in (body, context))
        fade = min(round(self.chunking.fade_s * self.sample_rate), context)
        ramp = np.linspace(0, 1, fade, dtype=np.float32) if fade else np.zeros(0, np.float32)
        source, held = iter(blocks), np.zeros(0, np.float32)  # held[0] is sample `first` of the recording
        first, start, tail, before = 0, 0, None, None
        while start < total:
            end = min(start + body, total)
            if total - end < context:  # a short rest would be mostly context: take it along
                end = total
            reach = min(end + context, total)
            parts, size = [held], len(held)
            while first + size < reach:
                block = next(source, None)
                if block is None:  # the resampler rounded the length: what is missing is silence
                    block = np.zeros(reach - first - size, np.float32)
                parts.append(block)
                size += len(block)
            held = np.concatenate(parts)
            left = start - first
            y = self.convert(held[: reach - first], to, kind, seed + start, before)
            piece = y[left : left + end - start + (fade if end < total else 0)].copy()
            if tail is not None:
                piece[:fade] = tail * (1 - ramp) + piece[:fade] * ramp
            if end < total:
                tail, piece = piece[end - start :], piece[: end - start]
                keep = max(0, end - context)
                before = y[keep - first : reach - first]
                held, first = held[keep - first :], keep
            done(end - start)
            yield piece
            start = end

    def __call__(self, audio: np.ndarray, sample_rate: int, to: str, vocoder: str | None = None, seed: int = 0) -> np.ndarray:
        """Transfer a recording in memory.

        ``audio``: (N,) or (N, channels) float, any level, at ``sample_rate`` Hz; channels are mixed
        down. ``vocoder``: a kind that is trained; None takes the default of the training. Returns (N,) float32
        at the same rate, with the same loudness (ITU-R BS.1770), or less where that would clip.
        Raises RetimbreError for an unknown target or vocoder and for audio that is silent, shorter
        than 0.1 s or not finite.
        """
        audio = np.asarray(audio, np.float32)
        mono = audio.mean(1) if audio.ndim == 2 else audio
        if mono.ndim != 1 or not np.isfinite(mono).all():
            raise RetimbreError("the audio must be finite samples of shape (N,) or (N, channels).")

        def blocks(rate: int) -> Iterator[np.ndarray]:
            return resample_blocks([mono], sample_rate, rate)

        return np.concatenate(
            list(self._run(blocks, len(mono), sample_rate, "the audio", to, vocoder or self.vocoder.kind, seed, lambda n: None))
        )

    def transfer_file(self, source: str | Path, target: str | Path, to: str, vocoder: str | None = None, seed: int = 0) -> FileInfo:
        """Transfer a file of any format, rate and number of channels that libsndfile reads, with
        memory that does not grow with its length; writes 16-bit WAV of the same rate and length.

        Raises RetimbreError as ``__call__`` does, and for files that are no audio.
        """
        target = Path(target)
        if target.suffix.lower() != ".wav":
            raise RetimbreError(f"{target} must end in .wav: that is what is written.")
        if not target.parent.is_dir():
            raise RetimbreError(f"the folder {target.parent} does not exist: create it or choose another output.")
        if target.is_dir():
            raise RetimbreError(f"{target} is a folder: give the name of a file in it.")
        info, kind = probe(source), vocoder or self.vocoder.kind
        self._check(info.frames, info.sample_rate, str(source), to, kind)  # before a bar appears
        seconds = int(np.ceil(info.duration_s))

        def blocks(rate: int) -> Iterator[np.ndarray]:
            return iter(StreamReader(source, rate))

        part = target.with_name(f".{target.name}.part")
        try:
            with (
                Progress(seconds, f"{Path(source).name} to {to}", "s") as progress,
                soundfile.SoundFile(part, "w", info.sample_rate, 1, "PCM_16", format="WAV") as out,
            ):
                shown = 0.0

                def done(samples: int) -> None:
                    nonlocal shown
                    before, shown = int(shown), shown + samples / self.sample_rate
                    progress.update(min(int(shown), seconds) - before)

                for block in self._run(blocks, info.frames, info.sample_rate, str(source), to, kind, seed, done):
                    out.write(block)
                progress.update(seconds - progress.done)  # what rounding to whole seconds left
            part.replace(target)
        except (soundfile.SoundFileError, AssertionError) as error:  # what soundfile raises for a folder or disk that takes no more
            raise RetimbreError(f"{target} cannot be written ({error}): check the folder's permissions and the free space.") from None
        finally:
            part.unlink(missing_ok=True)
        return info

    def _check(self, frames: int, rate: int, name: str, to: str, kind: str) -> None:
        """Refuse what can be refused before any work."""
        self.generator.generator_to(to)
        self.vocoder.part_of(kind)
        if frames < SHORTEST_S * rate:
            raise RetimbreError(f"{name} is shorter than {SHORTEST_S} s: give more audio.")

    def _run(
        self,
        blocks: Callable[[int], Iterator[np.ndarray]],
        frames: int,
        rate: int,
        name: str,
        to: str,
        kind: str,
        seed: int,
        done: Callable[[int], None],
    ) -> Iterator[np.ndarray]:
        """Measure, convert to a temporary file, then level and resample: blocks at ``rate``."""
        self._check(frames, rate, name, to, kind)
        square, total, meter = 0.0, 0, LoudnessMeter(self.sample_rate)
        for block in blocks(self.sample_rate):
            square, total = square + float(np.square(block, dtype=np.float64).sum()), total + len(block)
            meter.update(block)
        level = np.sqrt(square / max(total, 1))
        if level < SILENCE_RMS:
            raise RetimbreError(f"{name} is silent (level {20 * np.log10(max(level, 1e-12)):.0f} dB): there is nothing to transfer.")
        gain = np.float32(self.rms / level)
        with tempfile.TemporaryFile(suffix=".f32") as scratch:
            made, peak, made_square = LoudnessMeter(self.sample_rate), 0.0, 0.0
            for piece in self._chunks((block * gain for block in blocks(self.sample_rate)), total, to, kind, seed, done):
                made.update(piece)
                peak = max(peak, float(np.abs(piece).max(initial=0)))
                made_square += float(np.square(piece, dtype=np.float64).sum())
                scratch.write(piece.astype(np.float32).tobytes())
            change_db = meter.lufs(float(gain)) - made.lufs()  # at the networks' level: far above the meter's absolute gate
            if not np.isfinite(change_db):
                change_db = 20 * np.log10(self.rms / max(np.sqrt(made_square / max(total, 1)), 1e-9))
            wanted = 10 ** (change_db / 20) / gain
            back = min(wanted, PEAK_LIMIT / max(peak, 1e-9))
            self.quieter_db = float(20 * np.log10(wanted / back))
            scratch.seek(0)

            def stored() -> Iterator[np.ndarray]:
                while data := scratch.read(1 << 18):
                    yield np.frombuffer(data, np.float32) * np.float32(back)

            written = 0
            for block in resample_blocks(stored(), self.sample_rate, rate):
                block = np.clip(block[: frames - written], -1, 1)
                written += len(block)
                if len(block):
                    yield block
            if written < frames:  # the resamplers' rounding, a few samples at most
                yield np.zeros(frames - written, np.float32)
