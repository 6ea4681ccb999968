"""Medley-solos-DB (Lostanlen & Cella, ISMIR 2016): eight instruments; docs/datasets/medley_solos_db.md."""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import SPLIT_OF, domain_name, one_split

# In the order of the publisher's instrument_id, which the archive's file names carry.
INSTRUMENTS = (
    "clarinet", "distorted_electric_guitar", "female_singer", "flute", "piano", "tenor_saxophone", "trumpet",
    "violin",
)  # fmt: skip


class MedleySolosDb(Adapter):
    """21,571 clips of 3 s, with the official split: training and validation from MedleyDB, test from
    solosDb. A piece is a song."""

    name = "medley_solos_db"
    title = "Medley-solos-DB 1.2"
    homepage = "https://zenodo.org/record/3464194"
    licence = "CC BY 4.0"
    citation = (
        "V. Lostanlen, C. E. Cella: Deep Convolutional Networks on the Pitch Spiral for Musical "
        "Instrument Recognition. ISMIR 2016"
    )
    domains = INSTRUMENTS

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [mirdata.index("medley_solos_db"), mirdata.remote("medley_solos_db", "annotations")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        patterns = tuple(f"*Medley-solos-DB_*-{INSTRUMENTS.index(domain)}_*.wav" for domain in domains)
        return [mirdata.remote("medley_solos_db", "audio", patterns)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        listed = [
            track
            for track in mirdata.tracks("medley_solos_db", root)
            if domain_name(track.instrument) in domains
        ]
        found = mirdata.complete("medley_solos_db", root, listed, lambda track: track.audio_path)
        return one_split(
            [
                Track(path, domain_name(t.instrument), f"medley-solos-db-{t.song_id}", SPLIT_OF[t.subset])
                for t, path in found
            ],
            self.name,
        )
