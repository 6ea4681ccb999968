"""MusicNet (Thickstun et al., ICLR 2017) in Universal Music Translation's six domains.

See docs/datasets/musicnet.md.
"""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import choose, existing, members, read_table

PLACE = "https://zenodo.org/records/5120004/files"
# Composer and ensemble, as facebookresearch/music-translation's src/parse_musicnet.py chooses them.
DOMAINS = {
    "bach_solo_cello": ("Bach", "Solo Cello"),
    "bach_solo_piano": ("Bach", "Solo Piano"),
    "beethoven_accompanied_violin": ("Beethoven", "Accompanied Violin"),
    "beethoven_solo_piano": ("Beethoven", "Solo Piano"),
    "beethoven_string_quartet": ("Beethoven", "String Quartet"),
    "cambini_wind_quintet": ("Cambini", "Wind Quintet"),
}
TABLE = "musicnet_metadata.csv"
COLUMNS = ("id", "composer", "composition", "movement", "ensemble", "seconds")
FOLDERS = ("musicnet/train_data", "musicnet/test_data")


class MusicNet(Adapter):
    """Recordings of one composer and ensemble. A piece is a movement.

    The publisher's ten test recordings are not kept apart.
    """

    name = "musicnet"
    title = "MusicNet 1.0"
    homepage = "https://zenodo.org/records/5120004"
    licence = "CC BY 4.0"
    citation = "J. Thickstun, Z. Harchaoui, S. Kakade: Learning Features of Music from Scratch. ICLR 2017"
    domains = tuple(DOMAINS)

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [
            RemoteFile(TABLE, f"{PLACE}/{TABLE}?download=1", 43_775, "md5:1caef62cee9c875235e62aac368b49d8")
        ]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        wanted = members(
            path
            for track in choose(self._listed(root, domains), limit_hours, seed, self.name)
            for path in _places(track)
        )
        name, size, checksum = "musicnet.tar.gz", 11_097_394_998, "md5:844764911fa0d5b97c97da944a057590"
        url = f"{PLACE}/{name}?download=1"
        return [RemoteFile(name, url, size, checksum, unpack=True, members=wanted)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        listed = self._listed(root, domains)
        # to the end of the file: the table's seconds are rounded
        here = [Track(place, track.domain, track.piece) for track in listed for place in _places(track)]
        return existing(root, here, domains, self.name)

    def _listed(self, root: Path, domains: Sequence[str]) -> list[Track]:
        tracks = []
        for row in read_table(Path(root) / TABLE, COLUMNS):
            for domain in domains:
                if (row["composer"], row["ensemble"]) == DOMAINS[domain]:
                    piece = f"{row['composer']}: {row['composition']}, {row['movement']} ({row['ensemble']})"
                    tracks.append(Track(row["id"], domain, piece, duration_s=float(row["seconds"])))
        return tracks


def _places(track: Track) -> list[str]:
    """The paths at which a recording may lie: in the publisher's training or test folder."""
    return [f"{folder}/{track.path}.wav" for folder in FOLDERS]
