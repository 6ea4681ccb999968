"""MAESTRO (Hawthorne et al., ICLR 2019): piano with aligned MIDI; see docs/datasets/maestro.md."""

import json
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import SPLIT_OF, choose, existing, members, one_split, table

DOMAIN = "piano"
PLACE = "https://storage.googleapis.com/magentadata/datasets/maestro"


class Maestro(Adapter):
    """1,276 competition performances, 199 h, with the official split by composition, which is the piece.

    The audio is one archive of 101 GB; with ``dataset.limit_hours`` only the chosen recordings are taken out
    of it, on the server where that gives parts of files.
    """

    name = "maestro"
    title = "MAESTRO 3.0.0"
    homepage = "https://magenta.tensorflow.org/datasets/maestro"
    licence = "CC BY-NC-SA 4.0"
    non_commercial = True
    citation = (
        "C. Hawthorne, A. Stasyuk, A. Roberts, I. Simon, C.-Z. A. Huang, S. Dieleman, E. Elsen, J. Engel, "
        "D. Eck: Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset. ICLR 2019"
    )
    version = "v3.0.0"
    archive_sha256 = "6680fea5be2339ea15091a249fbd70e49551246ddbd5ca50f1b2352c08c95291"
    domains = (DOMAIN,)

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        name = f"maestro-{self.version}.json"
        return [RemoteFile(name, f"{PLACE}/{self.version}/{name}")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        chosen = choose(self._listed(root), limit_hours, seed, self.name)
        return [self._archive(members(path for track in chosen for path in (track.path, track.midi)))]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        return one_split(existing(root, self._listed(root), domains, self.name), self.name)

    def _archive(self, patterns: tuple[str, ...]) -> RemoteFile:
        name = f"maestro-{self.version}.zip"
        return RemoteFile(
            name, f"{PLACE}/{self.version}/{name}", None, f"sha256:{self.archive_sha256}", True, patterns
        )

    def _listed(self, root: Path) -> list[Track]:
        """All recordings of the table: version 2 is a list of records, version 3 a mapping of columns."""
        path, folder = Path(root) / f"maestro-{self.version}.json", f"maestro-{self.version}"
        with table(path, "MAESTRO's table"):
            listed = json.loads(path.read_text(encoding="utf-8"))
            rows = listed
            if not isinstance(listed, list):
                rows = [{name: listed[name][key] for name in listed} for key in listed["split"]]
            return [
                Track(
                    path=f"{folder}/{row['audio_filename']}",
                    domain=DOMAIN,
                    piece=f"{row['canonical_composer']}: {row['canonical_title']}",
                    split=SPLIT_OF[row["split"]],
                    midi=f"{folder}/{row['midi_filename']}",
                    duration_s=float(row["duration"]),
                )
                for row in rows
            ]


class MaestroV2(Maestro):
    """1,282 performances; files and checksums are those that mirdata knows."""

    name = "maestro_v2"
    title = "MAESTRO 2.0.0"
    version = "v2.0.0"

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [mirdata.remote("maestro", "metadata")]

    def _archive(self, patterns: tuple[str, ...]) -> RemoteFile:
        return mirdata.remote("maestro", "all", patterns)
