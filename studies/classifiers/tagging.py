"""MagnaTagATune for tagging: every clip with all of its tags; what ``dataset.source: magnatagatune`` is here.

The 50 most frequent tags are taken after synonyms are merged, as in Foote's repetition; the split is the
field's, by folder. Clips without any of the tags are kept: ``dataset.domains`` are ``[tagged, untagged]``.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.sources import magnatagatune as mtat
from retimbre.datasets.sources.base import Track
from retimbre.datasets.sources.common import domain_name, read_table
from retimbre.datasets.sources.magnatagatune import MagnaTagATune
from retimbre.datasets.sources.params import Dataset
from retimbre.datasets.sources.published import Published
from retimbre.section import Machine

SOURCE = "magnatagatune"
DOMAINS = ("tagged", "untagged")


class Tagging(MagnaTagATune):
    """All clips: those with one of the top tags, and those without."""

    domains = DOMAINS

    def _listed(self, root: Path, domains: Sequence[str]) -> list[Track]:
        rows = read_table(Path(root) / mtat.TABLE, ("clip_id", "mp3_path"), delimiter="\t")
        names = [column for column in (rows[0] if rows else ()) if column not in ("clip_id", "mp3_path")]
        self.found = {
            row["mp3_path"]: {domain_name(mtat.MERGED.get(tag, tag)) for tag in names if row[tag] == "1"}
            for row in rows
            if row["mp3_path"] not in mtat.BROKEN
        }
        counts = Counter(tag for tags in self.found.values() for tag in tags)
        self.top = sorted(counts, key=lambda tag: (-counts[tag], tag))[: mtat.TOP]
        top = set(self.top)
        split_of = {folder: split for split, folders in mtat.SPLITS.items() for folder in folders}
        tracks = []
        for clip, tags in self.found.items():
            song = re.sub(r"-\d+-\d+\.mp3$", "", clip.split("/")[-1])
            domain = DOMAINS[not tags & top]
            tracks.append(Track(clip, domain, f"{SOURCE}-{song}", split_of[clip[0]], duration_s=mtat.CLIP_S))
        return tracks

    def tags_of(self, clip: str) -> list[int]:
        """0 or 1 of every top tag."""
        return [int(tag in self.found[clip]) for tag in self.top]


def source(dataset: Dataset, seed: int, machine: Machine) -> Published:
    return Published(Tagging(), dataset, seed, machine)
