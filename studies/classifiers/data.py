"""Labelled windows of the study: made once per data set, in ``.scratch/classifiers``."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT, HERE = Path(__file__).resolve().parents[2], Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from retimbre import params  # noqa: E402
from retimbre.audio.levels import scale_to_rms  # noqa: E402
from retimbre.classifiers.bench.scores import refuse_leaks  # noqa: E402
from retimbre.classifiers.bench.windows import RATE, SAMPLES, Windows, cut  # noqa: E402
from retimbre.datasets.packed.format import PackedAudio  # noqa: E402
from retimbre.datasets.preparation.resampling import pack  # noqa: E402
from retimbre.datasets.recordings.manifest import SPLITS, read_manifest  # noqa: E402
from retimbre.datasets.scores import soundfont  # noqa: E402
from retimbre.datasets.scores.performance import read_midi  # noqa: E402
from retimbre.datasets.sources.collection import make_source  # noqa: E402
from retimbre.errors import RetimbreError  # noqa: E402
from retimbre.provenance import digest  # noqa: E402
from studies.classifiers import tagging  # noqa: E402
from studies.orchestra.held_out import UNSEEN  # noqa: E402
from studies.rendering import gather  # noqa: E402

SCRATCH = ROOT / ".scratch" / "classifiers"
# What TimGM6mb has true samples of; its guitars, strings and clarinet are loops of a few milliseconds.
OTHER_FONT = ("piano", "trumpet", "alto_sax", "oboe", "flute")
SHIFTED, STRANGERS = "shifted", "strangers"  # sets beside the splits: another font, instruments of no class


@dataclass(frozen=True)
class Set:
    """``labels`` (B,) or tags (B, K) of windows, and the number of the recording (B,) that each is of."""

    windows: Windows
    labels: np.ndarray
    recordings: np.ndarray


def settings(changes: dict[str, Any]) -> Any:
    """The params of the study: ``params.yaml``, what is beside this file, and ``changes`` by dotted names."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params.overlay(values, yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8")))
    for key, change in changes.items():
        for part in reversed(key.split(".")):
            change = {part: change}
        params.overlay(values, change)
    found = params.parse(values, "studies/classifiers")
    if found.audio.sample_rate != RATE:
        raise RetimbreError(f"audio.sample_rate is {found.audio.sample_rate}: the windows need {RATE}.")
    return found


class Data:
    """The windows of a data set by split, and of ``soundfont`` those of another font and of strangers."""

    def __init__(self, p: Any):
        self.p, source = p, p.dataset.source
        key = digest(p.seed, p.dataset.model_dump(), p.audio.model_dump())[:12]
        self.name = source if isinstance(source, str) else "-".join(source.values())
        self.folder, self._loaded = SCRATCH / f"{self.name}-{key}", {}

    @property
    def classes(self) -> list[str]:
        return json.loads((self.folder / "index.json").read_text(encoding="utf-8"))["classes"]

    @property
    def sets(self) -> list[str]:
        return [path.stem for path in sorted(self.folder.glob("*.npy"))]

    def load(self, name: str) -> Set:
        if name not in self._loaded:
            index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))[name]
            audio = np.load(self.folder / f"{name}.npy").astype(np.float32) / 32768
            labels, recordings = np.array(index["labels"]), np.array(index["recordings"])
            self._loaded[name] = Set(Windows(audio), labels, recordings)
        return self._loaded[name]

    def prepare(self) -> None:
        """Gather, resample, cut and store the windows, unless that is done."""
        if (self.folder / "index.json").is_file():
            return
        part = self.folder.with_name(f"{self.folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        raw = part / "raw"
        raw.mkdir(parents=True)
        source, classes, labels_of = self._source()
        gather(source, self.p, raw)
        pack(raw, part / "packed", self.p.audio, self.p.machine)
        audio, index = PackedAudio(part / "packed"), {"classes": classes()}
        pieces, contents = {}, {}
        for split in SPLITS:
            excerpts = [e for e in audio.excerpts(split=split) if e.performance in ("", "1")]
            hop = SAMPLES if split == "train" else SAMPLES // 2
            found = [(audio.read(e), labels_of(e), e.piece) for e in excerpts]
            index[split], contents[split] = self._store(part, split, found, hop)
            pieces[split] = [piece for _, _, piece in found]
        refuse_leaks(pieces, contents)
        if self.name == "soundfont":
            self._other_sounds(part, raw, index)
        (part / "index.json").write_text(json.dumps(index) + "\n", encoding="utf-8")
        shutil.rmtree(raw)
        shutil.rmtree(part / "packed")
        shutil.rmtree(self.folder, ignore_errors=True)
        part.rename(self.folder)

    def _source(self) -> tuple[Any, Any, Any]:
        """The recordings' source, the classes, and how an excerpt's label is found."""
        p, domains = self.p, list(self.p.dataset.domains)
        if self.name == tagging.SOURCE:
            source = tagging.source(p.dataset, p.seed, p.machine)
            return source, lambda: source.source.top, lambda e: source.source.tags_of(e.path)
        return make_source(p.dataset, p.seed, p.machine), lambda: domains, lambda e: domains.index(e.domain)

    def _store(self, folder: Path, name: str, found: list, hop: int) -> tuple[dict, np.ndarray]:
        """Store the windows of recordings (audio, label, piece); their index, and the windows (int16)."""
        parts = [(np.round(cut(audio, hop) * 32768).astype(np.int16), label) for audio, label, _ in found]
        parts = [(windows, label) for windows, label in parts if len(windows)]
        if not parts:
            raise RetimbreError(f"no {name} recording of {self.name} is 2 s long: give longer ones.")
        windows = np.concatenate([w for w, _ in parts])
        np.save(folder / f"{name}.npy", windows)
        labels = [label for w, label in parts for _ in w]
        return {"labels": labels, "recordings": [n for n, (w, _) in enumerate(parts) for _ in w]}, windows

    def _other_sounds(self, folder: Path, raw: Path, index: dict) -> None:
        """The test scores through TimGM6mb, and on instruments that are none of the classes."""
        import pretty_midi

        font = soundfont.find_font(str(Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"))
        test = [r for r in read_manifest(raw) if r.split == "test"]

        def played(recording: Any, program: int, path: Path) -> np.ndarray:
            notes = read_midi(raw / recording.midi)
            length = round(recording.duration_s * RATE)
            audio = soundfont.recorded(notes, program, path, length, RATE)
            return scale_to_rms(audio, self.p.audio.rms, RATE)[0]

        domains = list(self.p.dataset.domains)
        found = [
            (played(r, soundfont.instrument(r.domain).program, font.path), domains.index(r.domain), r.piece)
            for r in test
            if r.domain in OTHER_FONT
        ]
        index[SHIFTED], _ = self._store(folder, SHIFTED, found, SAMPLES // 2)
        own = soundfont.find_font(self.p.dataset.soundfont).path
        found = [
            (played(r, program, own), number, r.piece)
            for number, program in enumerate(UNSEEN.values())
            for r in test
            if r.domain in ("piano", "guitar")
        ]
        index[STRANGERS], _ = self._store(folder, STRANGERS, found, SAMPLES // 2)
