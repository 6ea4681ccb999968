"""Speech Commands (Warden, 2018): spoken words; see docs/datasets/speech_commands.md."""

from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import existing, table

PLACE = "https://storage.googleapis.com/download.tensorflow.org/data"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = (
    *DIGITS, "bed", "bird", "cat", "dog", "down", "go", "happy", "house", "left", "marvin", "no", "off", "on",
    "right", "sheila", "stop", "tree", "up", "wow", "yes",
)  # fmt: skip
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


class SpeechCommands(Adapter):
    """Words of a second at 16 kHz. The official split, in which no speaker is in two parts. A piece is a
    recording. The ten digits are the set that WaveGAN's authors call SC09.
    """

    name = "speech_commands"
    title = "Speech Commands 0.01"
    homepage = "https://www.tensorflow.org/datasets/catalog/speech_commands"
    licence = "CC BY 4.0"
    citation = (
        "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv 1804.03209, "
        "2018"
    )
    domains = WORDS

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        checksum = "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"
        name = "speech_commands_v0.01.tar.gz"
        wanted = (*LISTS.values(), *(f"{domain}/*.wav" for domain in domains))
        # The archive's names begin with "./" in some copies: both forms are taken.
        members = (*wanted, *(f"./{path}" for path in wanted))
        return [RemoteFile(name, f"{PLACE}/{name}", None, checksum, unpack=True, members=members)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        split_of: dict[str, str] = {}
        for split, name in LISTS.items():
            path = Path(root) / name
            with table(path, "the publisher's list"):
                split_of |= dict.fromkeys(path.read_text(encoding="utf-8").split(), split)
        listed = []
        for domain in domains:
            for path in sorted((Path(root) / domain).glob("*.wav")):
                place = f"{domain}/{path.name}"
                piece = f"speech_commands-{domain}-{path.stem}"
                listed.append(Track(place, domain, piece, split_of.get(place, "train")))
        return existing(root, listed, domains, self.name)
