"""Training material: recordings with what is heard of them, and back-translations.

A transcriber hears a piano otherwise than a guitar. So the recordings of each instrument are rendered on
another one, by the networks as they are trained so far, and heard again: what goes in is synthetic, what is
to come out is the true recording, as in unsupervised machine translation (Sennrich et al. 2016).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retimbre.audio.features import normalise, spectrum_of
from retimbre.audio.levels import rms
from retimbre.datasets.packed.crops import Positions
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import Excerpt
from retimbre.datasets.parallel import parallel_map
from retimbre.progress import Progress
from retimbre.section import Machine
from retimbre.systems.resynthesis.code import vary_levels, vary_pitch, vary_sustain
from retimbre.systems.resynthesis.params import Params
from retimbre.systems.resynthesis.system import Change
from retimbre.training.devices import one_thread
from retimbre.vocoders.catalogue import Vocoder

EXCERPTS_PER_TASK = 4
STREAM, RENDERED = 72, 71  # of random numbers: of crops, to which their own number is added; of renderings
SILENT = 1e-9  # RMS, which is not levelled


class Heard(NamedTuple):
    """A rendering as it is heard: content (T, C), spectrum (T, F) in dB; both float16."""

    content: np.ndarray
    spectrum_db: np.ndarray


class Task(NamedTuple):
    """Excerpts that another instrument is to play."""

    excerpts: Sequence[Excerpt]
    other: str


def render(task: Task, data: Data, change: Change, vocoder: Vocoder) -> list[Heard]:
    """The excerpts on another instrument, heard again at the level of the recordings."""
    level = data.audio.config["rms"]
    audio_of, content_of = ({e.id: e for e in packed.index} for packed in (data.audio, data.content))
    found = []
    for e in task.excerpts:
        code = data.content.read(content_of[e.id])
        made_db = change.decode(
            code, data.features.read(e, representation=change.representation).T, task.other
        )
        audio = vocoder.synthesise(made_db, audio_of[e.id].length, task.other)
        audio = (audio * (level / max(rms(audio), SILENT))).astype(np.float32)
        again_db = spectrum_of(audio, change.features, change.representation)
        found.append(Heard(change.encode(audio).astype(np.float16), again_db.T.astype(np.float16)))
    return found


@dataclass
class Material:
    """Recordings of the training split and, once there are any, their renderings on other instruments.

    ``change`` renders; the scale of its spectra is that of the training.
    """

    data: Data
    change: Change
    vocoder: Vocoder
    minutes: float  # of each instrument that are rendered at most
    machine: Machine
    seed: int

    def __post_init__(self):
        features = self.data.features
        self.domains = features.domains
        self.recorded = {d: features.excerpts(domain=d, split="train") for d in self.domains}
        self.content_of = {e.id: e for e in self.data.content.index}
        self.rendered: dict[str, Heard] = {}  # by excerpt

    def back_translate(self, number: int) -> None:
        """Render recordings on random other instruments, drawn with the ``number`` of the round."""
        rng, c = np.random.default_rng([self.seed, RENDERED, number]), self.data.features.config
        limit, tasks = self.minutes * 60 * c.sample_rate / c.hop_length, []
        for domain, excerpts in self.recorded.items():
            others = [other for other in self.change.targets if other != domain] or [domain]
            drawn = [excerpts[i] for i in rng.permutation(len(excerpts))]
            before = np.cumsum([0, *(e.length for e in drawn)])[:-1]
            chosen = [e for e, frames in zip(drawn, before, strict=True) if frames < limit]
            for first in range(0, len(chosen), EXCERPTS_PER_TASK):
                few = chosen[first : first + EXCERPTS_PER_TASK]
                tasks.append(Task(few, others[rng.integers(len(others))]))
        work = partial(render, data=self.data, change=self.change, vocoder=self.vocoder)
        order = [e for task in tasks for e in task.excerpts]
        with one_thread():  # sums have one order, however many jobs there are
            found = list(self._spread(work, tasks, number))
        self.rendered = {e.id: heard for e, heard in zip(order, found, strict=True)}

    def _spread(self, work: Any, tasks: Sequence[Task], number: int) -> Iterator[Heard]:
        total = sum(len(task.excerpts) for task in tasks)
        with Progress(total, f"back-translation {number}", "excerpts") as progress:
            for found in parallel_map(work, tasks, self.machine.jobs, self.machine.joblib_backend):
                progress.update(len(found))
                yield from found


class Batch(NamedTuple):
    """Inputs and outputs of a step: content (B, C, T), source's spectrum (B, F, T), true spectrum (B, F, T),
    both in -1..1, and the instruments (B,).
    """

    content: Tensor
    spectrum: Tensor
    target: Tensor
    instrument: Tensor


class Crops:
    """Batches of crops, a function of the step alone; instruments take turns in a batch.

    ``share``: of the crops whose input is a rendering on another instrument (the others hear the recording
    itself, whose spectrum is the output: what learns from spectra needs ``share`` 1). The sustain of notes
    varies as the params say, with ``vary`` their levels and pitch as well.
    """

    def __init__(self, material: Material, p: Params, stream: int, share: float, vary: bool = False):
        self.material, self.frames, self.batch_size = material, p.crop_frames, p.batch_size
        self.stream, self.share = stream, share
        on_scale = p.vary_pitch if p.representation == "cqt" else 0.0
        self.sustain = p.vary_sustain
        self.levels, self.pitch = (p.vary_levels, on_scale) if vary else (0.0, 0.0)
        self.recorded = [self._positions(excerpts, d) for d, excerpts in material.recorded.items()]

    @cached_property
    def rendered(self) -> list[Positions]:
        """Places in what is rendered, which may be made after these crops."""
        known = self.material.rendered
        return [
            self._positions([e for e in excerpts if e.id in known], d)
            for d, excerpts in self.material.recorded.items()
        ]

    def _positions(self, excerpts: list[Excerpt], domain: str) -> Positions:
        return Positions(excerpts, self.frames, f"train {domain}", "resynthesis.crop_frames")

    def batch(self, step: int) -> Batch:
        """Batch number ``step``."""
        m = self.material
        rng = np.random.default_rng([m.seed, STREAM + self.stream, step])
        contents, spectra, targets, instruments = [], [], [], []
        for i in range(self.batch_size):
            place = (step * self.batch_size + i) % len(m.domains)
            back = self.share > 0 and rng.random() < self.share
            ((e, start),) = (self.rendered if back else self.recorded)[place].draw(rng, 1)
            frames = slice(start, start + self.frames)
            target = m.data.features.read(e, frames.start, frames.stop, m.change.representation)
            if back:
                heard = m.rendered[e.id]
                content, spectrum = heard.content[frames], heard.spectrum_db[frames]
            else:
                content = m.data.content.read(m.content_of[e.id], frames.start, frames.stop)
                spectrum = target
            contents.append(content.T)
            spectra.append(spectrum.T)
            targets.append(target.T)
            instruments.append(place)
        top_db, range_db = m.change.top_db, m.change.features.range_db
        spectrum, target = (
            normalise(torch.from_numpy(np.stack(x)).float(), top_db, range_db) for x in (spectra, targets)
        )
        content = torch.from_numpy(np.stack(contents)).float()
        vary_pitch(content, [spectrum, target], rng, self.pitch, m.change.features.cqt_bins_per_octave)
        content = vary_sustain(content, rng, self.sustain)
        content = vary_levels(content, rng, self.levels)
        return Batch(content, spectrum, target, torch.tensor(instruments))
