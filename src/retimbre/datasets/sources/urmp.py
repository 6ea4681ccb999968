"""URMP (Li et al., IEEE TMM 2019): separately recorded parts of chamber music; see docs/datasets/urmp.md."""

import re
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import existing

INSTRUMENTS = {
    "bassoon": "bn", "cello": "vc", "clarinet": "cl", "double_bass": "db", "flute": "fl", "horn": "hn",
    "oboe": "ob", "saxophone": "sax", "trombone": "tbn", "trumpet": "tpt", "tuba": "tba", "viola": "va",
    "violin": "vn",
}  # fmt: skip
PART = re.compile(r"AuSep_\d+_([a-z]+)_\d+_(\w+)\.wav")


class Urmp(Adapter):
    """Parts of 44 pieces. A piece is a work: its arrangements share recordings."""

    name = "urmp"
    title = "URMP"
    homepage = "https://datadryad.org/dataset/doi:10.5061/dryad.ng3r749"
    licence = "CC0 1.0 as deposits at Dryad are (not stated in the archive)"
    citation = (
        "B. Li, X. Liu, K. Dinesh, Z. Duan, G. Sharma: Creating a Multitrack Classical Music Performance "
        "Dataset for Multimodal Music Analysis: Challenges, Insights, and Applications. IEEE Transactions "
        "on Multimedia 21(2), 2019"
    )
    domains = tuple(INSTRUMENTS)

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        wanted = tuple(f"Dataset/*/AuSep_*_{INSTRUMENTS[domain]}_*.wav" for domain in domains)
        # the page checks that a person asks: see the docs
        return [RemoteFile("Dataset.tar.gz", "", unpack=True, members=wanted)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        domain_of = {INSTRUMENTS[domain]: domain for domain in domains}
        tracks = []
        for path in sorted(Path(root).glob("Dataset/*/AuSep_*.wav")):
            part = PART.fullmatch(path.name)
            if part and part[1] in domain_of:
                tracks.append(Track(path.relative_to(root).as_posix(), domain_of[part[1]], f"urmp-{part[2]}"))
        return existing(root, tracks, domains, self.name)
