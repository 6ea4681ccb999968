"""GuitarSet (Xi et al., ISMIR 2018): six players of acoustic guitar; see docs/datasets/guitarset.md."""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track

# All of it, or one of its two halves: improvised melodies and chords.
MODES = {"guitar": ("solo", "comp"), "guitar_solo": ("solo",), "guitar_comp": ("comp",)}


class GuitarSet(Adapter):
    """360 excerpts of about 30 s at the reference microphone. A piece is a player."""

    name = "guitarset"
    title = "GuitarSet 1.1.0, microphone"
    homepage = "https://guitarset.weebly.com"
    licence = "CC BY 4.0"
    citation = (
        "Q. Xi, R. M. Bittner, J. Pauwels, X. Ye, J. P. Bello: GuitarSet: A Dataset for Guitar "
        "Transcription. ISMIR 2018"
    )
    recording = "mic"
    domains = tuple(MODES)

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [mirdata.index("guitarset")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        modes = dict.fromkeys(mode for domain in domains for mode in MODES[domain])
        wanted = tuple(f"*_{mode}_{self.recording}.wav" for mode in modes)
        return [mirdata.remote("guitarset", f"audio_{self.recording}", wanted)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        everything = mirdata.tracks("guitarset", root)
        result = []
        for domain in domains:
            listed = [track for track in everything if track.mode in MODES[domain]]
            found = mirdata.complete(
                "guitarset", root, listed, lambda track: getattr(track, f"audio_{self.recording}_path")
            )
            result += [Track(path, domain, f"guitarset-player-{track.player_id}") for track, path in found]
        return result


class GuitarSetMix(GuitarSet):
    """The same performances as the sum of the hexaphonic pickup's six strings."""

    name = "guitarset_mix"
    title = "GuitarSet 1.1.0, mix of the pickup's strings"
    recording = "mix"
