"""FMA (Defferrard et al., ISMIR 2017): clips of 30 s by genre, in three sizes; see docs/datasets/fma.md."""

import csv
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import SPLIT_OF, choose, domain_name, existing_clips, members, table

PLACE = "https://os.unil.cloud.switch.ch/fma"
GENRES = (
    "blues", "classical", "country", "easy_listening", "electronic", "experimental", "folk", "hip_hop",
    "instrumental", "international", "jazz", "old_time_historic", "pop", "rock", "soul_rnb", "spoken",
)  # fmt: skip
SMALL_GENRES = (
    "electronic", "experimental", "folk", "hip_hop", "instrumental", "international", "pop", "rock",
)  # fmt: skip
# each contains the smaller ones
SIZES = {"small": ("small",), "medium": ("small", "medium"), "large": ("small", "medium", "large")}
TABLE = "fma_metadata/tracks.csv"
CLIP_S = 30.0
# Clips of the small size that hold less than two seconds of sound (the project's wiki lists them).
TOO_SHORT = {98565, 98567, 98569, 99134, 108925, 133297}


class FmaSmall(Adapter):
    """8,000 clips of 8 genres, with the official split. A piece is an artist."""

    name = "fma"
    title = "FMA small"
    homepage = "https://github.com/mdeff/fma"
    licence = "of each track: Creative Commons, many of them non-commercial; metadata CC BY 4.0"
    non_commercial = True
    citation = (
        "M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson: FMA: A Dataset for Music Analysis. ISMIR 2017"
    )
    size = "small"
    archive_sha1 = "ade154f733639d52e35e32f5593efe5be76c6d70"
    domains: tuple[str, ...] = SMALL_GENRES

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        name, checksum = "fma_metadata.zip", "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"
        return [RemoteFile(name, f"{PLACE}/{name}", None, checksum, unpack=True, members=(TABLE,))]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        chosen = choose(self._listed(root, domains), limit_hours, seed, self.name)
        wanted = members(track.path for track in chosen)
        name, checksum = f"fma_{self.size}.zip", f"sha1:{self.archive_sha1}"
        return [RemoteFile(name, f"{PLACE}/{name}", None, checksum, unpack=True, members=wanted)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        return existing_clips(root, self._listed(root, domains), domains, self.name)

    def _listed(self, root: Path, domains: Sequence[str]) -> list[Track]:
        """Clips of the size and genres in the table, whose header is three rows."""
        path = Path(root) / TABLE
        tracks = []
        with table(path, "FMA's table of tracks"), open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            columns = list(zip(next(rows), next(rows), strict=True))
            subset, split, genre, artist = (
                columns.index(c)
                for c in (("set", "subset"), ("set", "split"), ("track", "genre_top"), ("artist", "id"))
            )
            next(rows)
            for row in rows:
                domain, number = domain_name(row[genre]), int(row[0])
                if row[subset] in SIZES[self.size] and domain in domains and number not in TOO_SHORT:
                    name = f"fma_{self.size}/{number // 1000:03d}/{number:06d}.mp3"
                    piece, part = f"fma-artist-{row[artist]}", SPLIT_OF[row[split]]
                    tracks.append(Track(name, domain, piece, part, duration_s=CLIP_S))
        return tracks


class FmaMedium(FmaSmall):
    """25,000 clips of 16 genres, which are of very different sizes."""

    name = "fma_medium"
    title = "FMA medium"
    domains = GENRES
    size = "medium"
    archive_sha1 = "c67b69ea232021025fca9231fc1c7c1a063ab50b"


class FmaLarge(FmaSmall):
    """106,574 clips, of which those with a top genre are used."""

    name = "fma_large"
    title = "FMA large"
    domains = GENRES
    size = "large"
    archive_sha1 = "497109f4dd721066b5ce5e5f250ec604dc78939e"
