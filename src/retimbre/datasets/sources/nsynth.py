"""NSynth (Engel et al., ICML 2017): single notes, and GANSynth's subset; see docs/datasets/nsynth.md."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retimbre.datasets.download.mirrors import RemoteFile
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import AGAIN, SPLIT_OF, existing, read_table, table
from retimbre.errors import RetimbreError

PLACE = "http://download.magenta.tensorflow.org/datasets/nsynth"
# Notes of each family in all three parts, 305,979 together: what the publisher's page counts.
HISTOGRAM = {
    "bass": 68_955, "brass": 13_830, "flute": 9_423, "guitar": 35_423, "keyboard": 54_991, "mallet": 35_066,
    "organ": 36_577, "reed": 14_866, "string": 20_594, "synth_lead": 5_501, "vocal": 10_753,
}  # fmt: skip
PARTS = ("train", "valid", "test")
GANSYNTH_SPLITS = "nsynth-gansynth_splits.csv"
GANSYNTH_PITCHES = range(24, 85)  # MIDI


class NSynth(Adapter):
    """Notes of 4 s at 16 kHz. The official split, in which no instrument of the training set is in the other
    two. A piece is a note."""

    name = "nsynth"
    title = "NSynth 1.0"
    homepage = "https://magenta.tensorflow.org/datasets/nsynth"
    licence = "CC BY 4.0"
    citation = (
        "J. Engel, C. Resnick, A. Roberts, S. Dieleman, D. Eck, K. Simonyan, M. Norouzi: Neural Audio "
        "Synthesis of Musical Notes with WaveNet Autoencoders. ICML 2017"
    )
    kinds = "*"  # acoustic, electronic and synthetic
    domains = tuple(HISTOGRAM)

    def files(self, domains: Sequence[str], limit_hours: float, seed: int, root: Path) -> list[RemoteFile]:
        result = []
        for part in PARTS:
            notes = tuple(f"nsynth-{part}/audio/{domain}_{self.kinds}.wav" for domain in domains)
            name = f"nsynth-{part}.jsonwav.tar.gz"
            wanted = (f"nsynth-{part}/examples.json", *notes)
            result.append(RemoteFile(name, f"{PLACE}/{name}", unpack=True, members=wanted))
        return result

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        notes = self._notes(root)
        training = {note["instrument_str"] for part, note in notes.values() if part == "train"}
        held_out = {note["instrument_str"] for part, note in notes.values() if part != "train"}
        if both := sorted(training & held_out):
            raise RetimbreError(
                f"dataset.source nsynth: {both[0]} is in the training part and in another, as in no "
                f"release: {AGAIN}."
            )
        listed = [
            Track(f"nsynth-{part}/audio/{name}.wav", family, f"nsynth-{name}", SPLIT_OF[part])
            for name, (part, note) in notes.items()
            if (family := note["instrument_family_str"]) in domains
        ]
        return existing(root, listed, domains, self.name)

    def _notes(self, root: Path) -> dict[str, tuple[str, dict[str, Any]]]:
        """Note name -> part and record, of all three parts; checked against the publisher's counts."""
        notes: dict[str, tuple[str, dict[str, Any]]] = {}
        found: Counter[str] = Counter()
        for part in PARTS:
            path = Path(root) / f"nsynth-{part}" / "examples.json"
            with table(path, "NSynth's table of notes"):
                listed = json.loads(path.read_text(encoding="utf-8"))
                found.update(note["instrument_family_str"] for note in listed.values())
                notes |= {name: (part, note) for name, note in listed.items()}
        for family, count in HISTOGRAM.items():
            if found[family] != count:
                raise RetimbreError(
                    f"dataset.source nsynth: the tables list {found[family]:,} notes of {family}, the "
                    f"publisher {count:,}: {AGAIN}."
                )
        return notes


class NSynthGanSynth(NSynth):
    """GANSynth's subset: acoustic, MIDI pitches 24 to 84, split by note: instruments are in all three."""

    name = "nsynth_gansynth"
    title = "NSynth 1.0, GANSynth subset"
    kinds = "acoustic_*"
    domains = tuple(family for family in HISTOGRAM if family != "synth_lead")

    def index_files(self, domains: Sequence[str]) -> list[RemoteFile]:
        checksum = "sha256:b6e77ff861c82822c63f94e91d62fc6a48f514d0a7a7bed517752f87bc7ac4a9"
        return [RemoteFile(GANSYNTH_SPLITS, f"{PLACE}/{GANSYNTH_SPLITS}", 2_952_153, checksum)]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        notes = self._notes(root)
        listed = []
        for row in read_table(Path(root) / GANSYNTH_SPLITS, ("id", "split")):
            part, note = notes.get(row["id"], ("", {}))
            if note.get("instrument_source_str") != "acoustic" or note.get("pitch") not in GANSYNTH_PITCHES:
                raise RetimbreError(
                    f"{GANSYNTH_SPLITS} lists {row['id']}, which is no acoustic note of MIDI pitch 24 to "
                    f"84: {AGAIN}."
                )
            if note["instrument_family_str"] in domains:
                path = f"nsynth-{part}/audio/{row['id']}.wav"
                listed.append(
                    Track(path, note["instrument_family_str"], f"nsynth-{row['id']}", SPLIT_OF[row["split"]])
                )
        return existing(root, listed, domains, self.name)
