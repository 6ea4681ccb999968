"""The source that ``dataset.source`` names, or one per domain (``{piano: maestro, guitar: guitarset}``).

Of several, every source fills a folder of its own, and its name goes before its pieces, so that nothing can
clash.
"""

import dataclasses
from pathlib import Path

from retimbre.datasets.recordings.manifest import Recording
from retimbre.datasets.sources.base import Source
from retimbre.datasets.sources.catalogue import LOCAL_SOURCES, find
from retimbre.datasets.sources.params import Dataset
from retimbre.section import Machine


def make_source(dataset: Dataset, seed: int, machine: Machine) -> Source:
    """The source that ``dataset.source`` names; ``machine`` changes its speed only.

    Raises RetimbreError for what can be known to be wrong before anything is fetched or decoded.
    """
    names = set(dataset.source_of.values())
    if len(names) == 1 and names <= set(LOCAL_SOURCES):
        return _source(names.pop(), dataset, seed, machine)
    return Collection(dataset, seed, machine)


def _source(name: str, dataset: Dataset, seed: int, machine: Machine) -> Source:
    """One source, for all of ``dataset.domains``; each imports what its kind of recordings needs."""
    if name == "soundfont":
        from retimbre.datasets.sources.soundfont import RenderedScores

        return RenderedScores(dataset, seed, machine)
    if name == "folder":
        from retimbre.datasets.sources.folder import Folders

        return Folders(dataset, seed, machine)
    from retimbre.datasets.sources.published import Published

    return Published(find(name), dataset, seed, machine)


class Collection:
    """Published sets and mixes. Raises RetimbreError at construction for what any of its sources refuses."""

    def __init__(self, dataset: Dataset, seed: int, machine: Machine):
        self.sources: dict[str, Source] = {}
        for name in dict.fromkeys(dataset.source_of.values()):
            domains = [domain for domain in dataset.domains if dataset.source_of[domain] == name]
            own = dataset.model_copy(update={"source": name, "domains": domains})
            self.sources[name] = _source(name, own, seed, machine)

    def prepare(self, out: Path) -> list[Recording]:
        recordings = []
        for name, source in self.sources.items():
            folder = Path(out) / name
            folder.mkdir()
            own = source.prepare(folder)
            if name in LOCAL_SOURCES:  # no other source performs the same scores
                own = _unpaired(own, folder)
            recordings += [_below(name, recording) for recording in own]
        return recordings


def _unpaired(recordings: list[Recording], folder: Path) -> list[Recording]:
    """One performance of each piece, paired with nothing; files of the others are removed."""
    kept = [dataclasses.replace(r, performance="") for r in recordings if r.performance in ("", "1")]
    used = {name for recording in kept for name in (recording.path, recording.midi)}
    for name in {name for r in recordings for name in (r.path, r.midi) if name} - used:
        (folder / name).unlink()
    return kept


def _below(name: str, recording: Recording) -> Recording:
    """The recording as seen from the folder above its source's."""
    midi = f"{name}/{recording.midi}" if recording.midi else ""
    return dataclasses.replace(
        recording, path=f"{name}/{recording.path}", piece=f"{name}/{recording.piece}", midi=midi
    )
