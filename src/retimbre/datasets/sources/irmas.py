"""IRMAS (Bosch et al., ISMIR 2012): excerpts with one predominant instrument; see docs/datasets/irmas.md."""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources import mirdata
from retimbre.datasets.sources.base import Adapter, Track

INSTRUMENTS = {
    "cello": "cel", "clarinet": "cla", "flute": "flu", "acoustic_guitar": "gac", "electric_guitar": "gel",
    "organ": "org", "piano": "pia", "saxophone": "sax", "trumpet": "tru", "violin": "vio", "voice": "voi",
}  # fmt: skip


class Irmas(Adapter):
    """The training data: 6,705 excerpts of 3 s, labelled by folder. A piece is a song."""

    name = "irmas"
    title = "IRMAS 1.0, training data"
    homepage = "https://www.upf.edu/web/mtg/irmas"
    licence = "CC BY-NC-SA 3.0"
    non_commercial = True
    citation = (
        "J. J. Bosch, J. Janer, F. Fuhrmann, P. Herrera: A Comparison of Sound Segregation Techniques for "
        "Predominant Instrument Recognition in Musical Audio Signals. ISMIR 2012"
    )
    domains = tuple(INSTRUMENTS)
    training_split = ""  # within the training data the splits are ours, by song

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        return [mirdata.index("irmas")]

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        folders = tuple(f"IRMAS-TrainingData/{INSTRUMENTS[domain]}/*" for domain in domains)
        return [mirdata.remote("irmas", "training_data", folders)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        domain_of = {INSTRUMENTS[domain]: domain for domain in domains}
        listed = [
            track
            for track in mirdata.tracks("irmas", root)
            if track.split == "train" and track.predominant_instrument in domain_of
        ]
        result = []
        for track, path in mirdata.complete("irmas", root, listed, lambda track: track.audio_path):
            song = track.track_id.split("__")[0]  # "0189__2" is the second excerpt of song 189
            domain = domain_of[track.predominant_instrument]
            result.append(Track(path, domain, f"irmas-{song}", self.training_split))
        return result


class IrmasTesting(Irmas):
    """Training data, and as the test split those excerpts of the testing data that have one label."""

    name = "irmas_testing"
    title = "IRMAS 1.0, training and testing data"
    training_split = "train"

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        testing = [mirdata.remote("irmas", f"testing_data_{part}") for part in (1, 2, 3)]
        return super().files(domains, limit_hours, seed, root) + testing

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        domain_of = {INSTRUMENTS[domain]: domain for domain in domains}
        listed = [track for track in mirdata.tracks("irmas", root) if track.split == "test"]
        locator = mirdata.Locator(root)
        result = super().tracks(root, domains)
        for track, path in mirdata.complete("irmas", root, listed, lambda track: track.audio_path):
            labels = locator.find(track.annotation_path)
            instruments = (
                (Path(root) / labels).read_text(encoding="utf-8", errors="replace").split() if labels else []
            )
            if len(instruments) == 1 and instruments[0] in domain_of:
                # "02 - And The Body Will Die-8" is the eighth excerpt of one recording
                recording = Path(path).stem.rsplit("-", 1)[0]
                result.append(Track(path, domain_of[instruments[0]], f"irmas-testing-{recording}", "test"))
        return result
