"""The study's notes and the network that hears them: made once per data set, in ``.scratch/generation``."""

import json
import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]  # this checkout's own code, as in stages/

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from retimbre import params  # noqa: E402
from retimbre.datasets.download.store import Store  # noqa: E402
from retimbre.datasets.recordings.manifest import SPLITS  # noqa: E402
from retimbre.datasets.sources import catalogue as sources  # noqa: E402
from retimbre.datasets.sources.published import Published  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.provenance import code_of, digest, training_key  # noqa: E402
from retimbre.synthesis import catalogue  # noqa: E402
from retimbre.synthesis import notes as sets  # noqa: E402
from retimbre.synthesis.base import Notes  # noqa: E402
from retimbre.synthesis.measures.listener import Listener  # noqa: E402
from retimbre.training.checkpoint import Scratch  # noqa: E402
from retimbre.training.devices import make_fabric  # noqa: E402
from retimbre.training.fit import Run  # noqa: E402

EMBEDDED = "soundfont"


def settings(given: dict[str, Any]) -> Any:
    """The params of the study: ``params.yaml``, what is beside this file, and ``given`` ones by dotted names.

    Raises RetimbreError for a source that has no notes.
    """
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
    published = own.pop("published_sets")
    params.overlay(values, own)
    source = given.get("dataset.source", EMBEDDED)
    if source in published:
        params.overlay(values, published[source])
        given = {name: value for name, value in given.items() if name != "dataset.source"}
    elif source != EMBEDDED:
        raise RetimbreError(f"dataset.source is {source}: choose {', '.join([EMBEDDED, *published])}.")
    for key, change in given.items():
        for part in reversed(key.split(".")):
            change = {part: change}
        params.overlay(values, change)
    return params.parse(values, "studies/generation")


class Data:
    """Notes of one data set, all of ``samples`` at one rate, in a study's folder ``place``."""

    def __init__(self, p: Any, samples: int, place: Path = ROOT):
        self.place, self.scratch = place, place / catalogue.MODELS.parent
        self.p, self.samples, self.rate = p, samples, p.audio.sample_rate
        self.name, self.domains = p.dataset.source, tuple(p.dataset.domains)
        code = code_of("retimbre.synthesis.notes")
        key = digest(self.name, self.domains, samples, self.rate, p.seed, p.dataset.limit_hours, code)[:12]
        self.folder = self.scratch / f"{self.name}-{key}"
        self.heard_by = self.folder / f"listener-{code_of('retimbre.synthesis.measures.train')[:12]}"

    @cached_property
    def instruments(self) -> list[str]:
        """Those of the notes; none of words."""
        return json.loads((self.folder / "instruments.json").read_text(encoding="utf-8"))

    def notes(self, split: str) -> Notes:
        return sets.load(self.folder, split, self.instruments, self.rate)

    @property
    def ready(self) -> bool:
        """True when notes and listener are made."""
        return (self.heard_by / "config.json").is_file()

    @cached_property
    def listener(self) -> Listener:
        return Listener.load(self.heard_by)

    def prepare(self) -> None:
        """Make notes and listener, unless that is done."""
        if not (self.folder / "instruments.json").is_file():
            part = self.folder.with_name(f"{self.folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            instruments = self._render(part) if self.name == EMBEDDED else self._gather(part)
            (part / "instruments.json").write_text(json.dumps(instruments), encoding="utf-8")
            shutil.rmtree(self.folder, ignore_errors=True)
            part.rename(self.folder)
        if not self.ready:
            self._train_listener()

    def _render(self, folder: Path) -> list[str]:
        found = sets.embedded(self.domains, self.samples, self.rate, self.p.machine.jobs)
        for split, notes in found.items():
            sets.save(folder, split, notes)
        return list(self.domains)

    def _gather(self, folder: Path) -> list[str]:
        """The recordings of a published set, each in the split that its publisher gives it."""
        p = self.p.dataset
        source = Published(sources.find(self.name), p, self.p.seed, self.p.machine)
        places = (p.archives, p.keep_archives)
        store = Store(self.name, *places, self.p.machine.downloads, source.patience)
        print(source.about(), flush=True)
        with store.locked():
            root = source.gather(store)
            tracks = source.tracks(root)
            for split in SPLITS:
                own = [track for track in tracks if track.split == split]
                shape = (len(own), self.samples)
                audio = np.lib.format.open_memmap(folder / f"{split}.npy", "w+", np.float32, shape)
                for n, x in enumerate(sets.recorded(root, own, self.samples, self.rate)):
                    audio[n] = x
                audio.flush()
                sets.save_rows(folder, split, sets.described(own, self.domains))
        return list(self.domains) if sets.NSYNTH.fullmatch(tracks[0].piece) else []

    def _train_listener(self) -> None:
        from retimbre.synthesis.measures.train import fit_listener

        key = training_key({"data": self.folder.name}, [], "retimbre.synthesis.measures.train")
        with Scratch("generation-listener", key) as scratch:
            run = Run(self.p.seed, make_fabric("cpu"), self.p.machine, scratch)
            network, _ = fit_listener(self.notes("train"), run)
            part = self.heard_by.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            network.save(part)
            part.rename(self.heard_by)
            scratch.finish()
