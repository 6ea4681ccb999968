"""Good-sounds (Romani Picas et al., AES 2015): single notes and scales; see docs/datasets/good_sounds.md."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import FEWEST_PIECES

INSTRUMENTS = (
    "bass", "cello", "clarinet", "flute", "oboe", "piccolo", "sax_alto", "sax_baritone", "sax_soprano",
    "sax_tenor", "trumpet", "violin",
)  # fmt: skip


class GoodSounds(Adapter):
    """Notes and scales of 12 instruments, played well and badly on purpose; all microphones of a take.

    A piece is a recording session (the publisher's pack); of an instrument with fewer than three sessions, a
    sound (all of its takes).
    """

    name = "good_sounds"
    title = "Good-sounds"
    homepage = "https://zenodo.org/record/820937"
    licence = "CC BY-SA 4.0 according to mirdata, CC BY-NC 4.0 according to others: ask before commercial use"
    non_commercial = True
    citation = (
        "O. Romani Picas, H. Parra Rodriguez, D. Dabiri, H. Tokuda, W. Hariya, K. Oishi, X. Serra: A "
        "Real-Time System for Measuring Sound Goodness in Instrumental Sounds. AES Convention 138, 2015"
    )
    domains = INSTRUMENTS

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        tables = [mirdata.remote("good_sounds", key) for key in ("packs", "ratings", "sounds", "takes")]
        return [mirdata.index("good_sounds"), *tables]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        listed = [track for track in mirdata.tracks("good_sounds", root) if track.instrument in domains]
        packs = sorted({Path(track.audio_path).parent.parent.name for track in listed})
        return [mirdata.remote("good_sounds", "audios", tuple(f"*sound_files/{pack}/*" for pack in packs))]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        listed = [track for track in mirdata.tracks("good_sounds", root) if track.instrument in domains]
        packs: dict[str, set[str]] = defaultdict(set)
        for track in listed:
            packs[track.instrument].add(track.pack_info["name"])
        result = []
        for track, path in mirdata.complete("good_sounds", root, listed, lambda track: track.audio_path):
            piece = f"good-sounds-{track.pack_info['name']}"
            if len(packs[track.instrument]) < FEWEST_PIECES:
                piece += f"-{track.sound_info['id']}"
            result.append(Track(path, track.instrument, piece))
        return result
