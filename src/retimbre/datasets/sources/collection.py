"""One source per domain, put together: ``dataset.source: {piano: maestro, guitar: guitarset}``.

Every source fills a folder of its own, and its name goes before its pieces, so that nothing can clash.
"""

import dataclasses
from pathlib import Path

from retimbre.datasets.recordings.manifest import Recording
from retimbre.datasets.sources.base import Source
from retimbre.params import LOCAL_SOURCES, Dataset


class Collection:
    """Published sets and mixes. Raises RetimbreError at construction for what any of its sources refuses."""

    def __init__(self, dataset: Dataset, seed: int, jobs: int = 1):
        self.sources: dict[str, Source] = {}
        for name in dict.fromkeys(dataset.source_of.values()):
            domains = [domain for domain in dataset.domains if dataset.source_of[domain] == name]
            self.sources[name] = _source(name, domains, dataset, seed, jobs)

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


def _source(name: str, domains: list[str], dataset: Dataset, seed: int, jobs: int) -> Source:
    own = dataset.model_copy(update={"source": name, "domains": domains})
    if name == "soundfont":
        from retimbre.datasets.sources.soundfont import RenderedScores

        return RenderedScores(own, seed, jobs)
    if name == "folder":
        from retimbre.datasets.sources.folder import Folders

        return Folders(own, seed, jobs)
    from retimbre.datasets.sources.catalogue import find
    from retimbre.datasets.sources.published import Published

    return Published(find(name), domains, own, seed, jobs)


def _unpaired(recordings: list[Recording], folder: Path) -> list[Recording]:
    """One performance of each piece, paired with nothing; files of the others are removed."""
    kept = [dataclasses.replace(recording, performance="") for recording in recordings if recording.performance in ("", "1")]
    used = {name for recording in kept for name in (recording.path, recording.midi)}
    for recording in recordings:
        for name in (recording.path, recording.midi):
            if name and name not in used:
                (folder / name).unlink(missing_ok=True)
    return kept


def _below(name: str, recording: Recording) -> Recording:
    """The recording as seen from the folder above its source's."""
    return dataclasses.replace(
        recording,
        path=f"{name}/{recording.path}",
        piece=f"{name}/{recording.piece}",
        midi=f"{name}/{recording.midi}" if recording.midi else "",
    )
