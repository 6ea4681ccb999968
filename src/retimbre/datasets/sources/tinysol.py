"""TinySOL (Cella et al., 2020): single notes of 14 instruments; see docs/datasets/tinysol.md."""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import domain_name

INSTRUMENTS = (
    "accordion", "alto_saxophone", "bass_tuba", "bassoon", "clarinet_in_b_flat", "contrabass", "flute",
    "french_horn", "oboe", "trombone", "trumpet_in_c", "viola", "violin", "violoncello",
)  # fmt: skip
SPLITS = ("train", "train", "train", "validation", "test")  # of the publisher's five balanced folds


class TinySol(Adapter):
    """2,913 ordinary notes, one player per instrument. A piece is a note; those that the publisher made from
    a neighbour are left out."""

    name = "tinysol"
    title = "TinySOL 6.0"
    homepage = "https://zenodo.org/record/3685367"
    licence = "CC BY 4.0"
    citation = (
        "C. E. Cella, D. Ghisi, V. Lostanlen, F. Lévy, J. Fineberg, Y. Maresz: OrchideaSOL: a dataset of "
        "extended instrumental techniques for computer-aided orchestration. ICMC 2020"
    )
    domains = INSTRUMENTS

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [mirdata.index("tinysol"), mirdata.remote("tinysol", "annotations")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        return [mirdata.remote("tinysol", "audio")]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        listed = [
            track
            for track in mirdata.tracks("tinysol", root)
            if domain_name(track.instrument_full) in domains and not track.is_resampled
        ]
        found = mirdata.complete("tinysol", root, listed, lambda track: track.audio_path)
        return [
            Track(path, domain_name(t.instrument_full), f"tinysol-{t.track_id}", SPLITS[t.split])
            for t, path in found
        ]
