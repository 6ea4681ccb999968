"""VCTK 0.92 (Yamagishi et al., 2019): read English speech by speaker; see docs/datasets/vctk.md."""

import re
from collections.abc import Sequence
from pathlib import Path

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import existing
from retimbre.errors import RetimbreError

FOLDER = "wav48_silence_trimmed"
SPEAKER = re.compile(r"p\d{3}|s5")
COMMON_SENTENCES = 24  # everybody reads the same text first; what follows differs


class Vctk(Adapter):
    """110 speakers at 48 kHz, each a domain (p225, p226 ...).

    A piece is a sentence; the common ones are one piece for all speakers.
    """

    name = "vctk"
    title = "VCTK 0.92, first microphone"
    homepage = "https://datashare.ed.ac.uk/handle/10283/3443"
    licence = "CC BY 4.0"
    citation = (
        "J. Yamagishi, C. Veaux, K. MacDonald: CSTR VCTK Corpus: English Multi-speaker Corpus for CSTR "
        "Voice Cloning Toolkit. 2019"
    )
    microphone = "mic1"
    missing: tuple[str, ...] = ()

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        for domain in domains:
            if not SPEAKER.fullmatch(domain) or domain in self.missing:
                raise RetimbreError(
                    f"dataset.domains: source {self.name} has no speaker {domain!r}: use p225 to p376 or s5."
                )
        name = "VCTK-Corpus-0.92.zip"
        return [
            RemoteFile(
                name=name,
                url=f"https://datashare.ed.ac.uk/bitstream/handle/10283/3443/{name}",
                size=11_747_302_977,
                checksum="sha256:f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
                unpack=True,
                members=tuple(f"{FOLDER}/{domain}/*_{self.microphone}.flac" for domain in domains),
            )
        ]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        tracks = []
        for domain in domains:
            for path in sorted((Path(root) / FOLDER / domain).glob(f"{domain}_*_{self.microphone}.flac")):
                number = path.stem.split("_")[1]
                common = number.isdigit() and int(number) <= COMMON_SENTENCES
                piece = f"vctk-sentence-{number}" if common else f"vctk-{domain}-{number}"
                tracks.append(Track(path.relative_to(root).as_posix(), domain, piece))
        return existing(root, tracks, domains, self.name)


class VctkMic2(Vctk):
    """The same sentences at the second microphone, which two speakers lack."""

    name = "vctk_mic2"
    title = "VCTK 0.92, second microphone"
    microphone = "mic2"
    missing = ("p280", "p315")
