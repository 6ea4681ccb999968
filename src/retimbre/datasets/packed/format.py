"""Packed shards: the excerpts of a split and domain laid end to end in memory-mapped ``.npy`` files.

One index table says where each excerpt lies; reading one is a slice, without decoding. Twenty files
hash and check out several times faster than twenty thousand. Lengths and offsets are in samples for
audio (int16) and in frames for features (float16, dB, (T, F)).

Writers stream: nothing but the excerpt at hand is in memory. Shards bear temporary names until
they are complete and ``index.csv`` is written last, so a folder that was left half-way is refused.
"""

import csv
import json
import mmap
import shutil
import threading
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from retimbre.errors import RetimbreError
from retimbre.paths import write_atomically

MEGABYTE = 1_000_000
COLUMNS = ("excerpt", "domain", "split", "piece", "performance", "shard", "offset", "length")  # of an index

# NumPy parses a file's header as Python. Where garbage is collected meanwhile, another thread gets its turn,
# and CPython before 3.11.8 raises SystemError if that one parses, too.
_PARSING = threading.RLock()


@dataclass(frozen=True)
class Excerpt:
    """An excerpt's place. ``performance`` as in the manifest: "" (unpaired), "1" (paired), "2"."""

    id: str
    domain: str
    split: str
    piece: str
    performance: str
    shard: int
    offset: int
    length: int
    gain_db: float = 0.0  # that levelling applied; audio only
    path: str = ""  # of the recording, below data/raw; audio only


def mapped(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file, read-only and over its memory map, from any thread.

    Raises FileNotFoundError, and ValueError for a damaged file.
    """
    with _PARSING:
        memmap = np.load(path, mmap_mode="r", allow_pickle=False)
    return memmap.view(np.ndarray)  # whose slices cost a tenth of a memmap object's


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON with sorted keys and no NaN, atomically."""
    with write_atomically(path) as file:
        json.dump(values, file, indent=1, sort_keys=True, allow_nan=False)
        file.write("\n")


def _read_json(path: Path, stage: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetimbreError(f"{path} does not exist: run `dvc repro {stage}` first.") from None
    except ValueError:
        raise RetimbreError(
            f"{path} is not valid JSON: run `dvc repro --force {stage}` to make it again."
        ) from None


def fresh_folder(folder: Path) -> Path:
    """Make ``folder`` exist and be empty."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class ShardFile:
    """An ``.npy`` file that grows by whole blocks along its first axis; named in full when closed."""

    def __init__(self, path: Path, dtype: str, row: tuple[int, ...] = ()):
        self.path, self.dtype, self.row, self.length = path, np.dtype(dtype), row, 0
        self.partial = path.with_name(f".{path.name}.partial")
        self.file = open(self.partial, "wb")  # noqa: SIM115  (closed by close or abandon)
        self._header()

    def _header(self) -> None:
        # NumPy pads the header so that the first axis may grow to any length in place.
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length, *self.row),
        }
        np.lib.format.write_array_header_1_0(self.file, header)

    def append(self, block: np.ndarray) -> None:
        if block.shape[1:] != self.row:
            raise ValueError(f"{self.path.name} holds rows of shape {self.row}, not {block.shape[1:]}")
        np.ascontiguousarray(block, dtype=self.dtype).tofile(self.file)
        self.length += len(block)

    def close(self) -> None:
        data_begins = self.file.tell() - self.length * self.dtype.itemsize * int(np.prod(self.row, dtype=int))
        self.file.seek(0)
        self._header()
        assert self.file.tell() == data_begins, "the header changed its size"
        self.file.close()
        self.partial.replace(self.path)

    def abandon(self) -> None:
        self.file.close()
        self.partial.unlink(missing_ok=True)


class _Writer:
    """Base of both writers: shards per split and domain, the index, completion."""

    index_columns: tuple[str, ...]

    def __init__(self, folder: Path, config: dict[str, Any], shard_mb: float):
        self.folder, self.config = fresh_folder(folder), config
        self.shard_bytes = int(shard_mb * MEGABYTE)
        self.rows: list[Excerpt] = []
        # By split and domain, then representation.
        self.open: dict[tuple[str, str], dict[str, ShardFile]] = {}
        self.shard: dict[tuple[str, str], int] = {}

    def _append(self, row: dict[str, Any], blocks: dict[str, np.ndarray], dtype: str) -> None:
        """Append one excerpt's blocks (by file prefix) to the open shard of its split and domain."""
        key = (row["split"], row["domain"])
        itemsize = np.dtype(dtype).itemsize
        length = len(next(iter(blocks.values())))
        if key in self.open:
            sizes = (
                (file.length + length) * itemsize * int(np.prod(file.row, dtype=int))
                for file in self.open[key].values()
            )
            if max(sizes) > self.shard_bytes:
                self._close(key)
        if key not in self.open:
            self.shard[key] = self.shard.get(key, -1) + 1
            stem = f"{key[0]}_{key[1]}_{self.shard[key]:03d}.npy"
            files = {
                prefix: ShardFile(self.folder / (prefix + stem), dtype, block.shape[1:])
                for prefix, block in blocks.items()
            }
            self.open[key] = files
        files = self.open[key]
        offset = next(iter(files.values())).length
        for prefix, block in blocks.items():
            files[prefix].append(block)
        self.rows.append(Excerpt(shard=self.shard[key], offset=offset, length=length, **row))

    def _close(self, key: tuple[str, str]) -> None:
        for file in self.open.pop(key).values():
            file.close()

    def finish(self) -> None:
        """Close the shards; write ``config.json`` and, last, ``index.csv``."""
        for key in list(self.open):
            self._close(key)
        write_json(self.folder / "config.json", self.config)
        with write_atomically(self.folder / "index.csv") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.index_columns)
            for row in self.rows:
                values = [
                    getattr(row, "id" if column == "excerpt" else column) for column in self.index_columns
                ]
                writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in values])

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
            return
        for files in self.open.values():
            for file in files.values():
                file.abandon()


class AudioWriter(_Writer):
    """Writes ``data/resampled``. Leaving the ``with`` block completes the folder, unless by an error."""

    index_columns = (*COLUMNS, "gain_db", "path")

    def __init__(self, folder: Path, sample_rate: int, rms: float, shard_mb: float):
        super().__init__(folder, {"sample_rate": sample_rate, "rms": rms}, shard_mb)
        self.counts: dict[tuple[str, str], int] = {}

    def add(
        self,
        audio: np.ndarray,
        domain: str,
        split: str,
        piece: str,
        performance: str = "",
        gain_db: float = 0.0,
        path: str = "",
    ) -> None:
        """Append an excerpt: (N,) int16, N > 0."""
        if audio.dtype != np.int16 or audio.ndim != 1 or not len(audio):
            raise ValueError("an audio excerpt is (N,) int16 with N > 0")
        number = self.counts[split, domain] = self.counts.get((split, domain), -1) + 1
        row = {"id": f"{split}-{domain}-{number:05d}", "domain": domain, "split": split, "piece": piece}
        row |= {"performance": performance, "gain_db": gain_db, "path": path}
        self._append(row, {"": audio}, "int16")


class FeatureWriter(_Writer):
    """Writes packed frames (``data/features``, ``data/content``).

    What is known of all of them together (features' ``statistics.json``), ``set_statistics`` takes before the
    end.

    The widest representation decides when a shard is full, so that shard and offset hold for all.
    """

    index_columns = COLUMNS

    def add(self, excerpt: Excerpt, decibels: dict[str, np.ndarray]) -> None:
        """Append the features of an audio excerpt: representation -> (T, F) float16, one T for all."""
        blocks = decibels.values()
        shaped = all(block.dtype == np.float16 and block.ndim == 2 for block in blocks)
        if not shaped or len({len(block) for block in blocks}) != 1:
            raise ValueError("features of an excerpt are (T, F) float16 with the same T")
        row = {name: getattr(excerpt, name) for name in ("id", "domain", "split", "piece", "performance")}
        self._append(row, {f"{name}_": block for name, block in decibels.items()}, "float16")

    def close_shards(self) -> None:
        """Complete the shards, so that they can be read for the statistics; nothing may be added after."""
        for key in list(self.open):
            self._close(key)

    def set_statistics(self, statistics: dict[str, Any]) -> None:
        write_json(self.folder / "statistics.json", statistics)


def _excerpt(row: dict[str, str], path: Path) -> Excerpt:
    """A row of an index. Raises KeyError or TypeError (other columns), RetimbreError (not a number)."""
    kinds = {field.name: field.type for field in fields(Excerpt)}
    values = {}
    for column, text in row.items():
        name = "id" if column == "excerpt" else column
        try:
            values[name] = kinds[name](text)
        except ValueError:
            raise RetimbreError(
                f"{path} holds {text!r} as {column}: make the folder again with `dvc repro --force`."
            ) from None
    return Excerpt(**values)


class _Packed:
    """Base of both readers: the index, and the shards as memory maps, opened when first read."""

    stage: str

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / "index.csv"
        if not path.is_file():
            raise RetimbreError(
                f"{self.folder} is missing or incomplete (no index.csv): run `dvc repro {self.stage}`."
            )
        self.config = _read_json(self.folder / "config.json", self.stage)
        advice = f"run `dvc repro --force {self.stage}`"
        try:
            with open(path, encoding="utf-8", newline="") as file:
                self.index = [_excerpt(row, path) for row in csv.DictReader(file)]
        except (KeyError, TypeError):
            raise RetimbreError(
                f"{path} has other columns than this version of retimbre writes: {advice}."
            ) from None
        except (UnicodeDecodeError, csv.Error):
            raise RetimbreError(f"{path} is damaged: {advice} to make it again.") from None
        self._maps: dict[str, np.ndarray] = {}

    @property
    def domains(self) -> list[str]:
        """The domains in the order of ``dataset.domains`` (A, B ...), which the index keeps."""
        return list(dict.fromkeys(excerpt.domain for excerpt in self.index))

    def excerpts(
        self, domain: str | None = None, split: str | None = None, performance: str | None = None
    ) -> list[Excerpt]:
        """The excerpts with these properties, in the index's order; None does not select."""
        named = {"domain": domain, "split": split, "performance": performance}
        wanted = {name: value for name, value in named.items() if value is not None}
        return [e for e in self.index if all(getattr(e, name) == value for name, value in wanted.items())]

    def _map(self, prefix: str, excerpt: Excerpt) -> np.ndarray:
        name = f"{prefix}{excerpt.split}_{excerpt.domain}_{excerpt.shard:03d}.npy"
        if name not in self._maps:
            try:
                self._maps[name] = mapped(self.folder / name)
            except FileNotFoundError:
                raise RetimbreError(
                    f"{self.folder / name} does not exist: run `dvc repro {self.stage}`."
                ) from None
            except ValueError:
                raise RetimbreError(
                    f"{self.folder / name} is damaged: run `dvc repro --force {self.stage}` to make it again."
                ) from None
        return self._maps[name]

    def _slice(self, prefix: str, excerpt: Excerpt, start: int, stop: int | None) -> np.ndarray:
        stop = excerpt.length if stop is None else stop
        if not 0 <= start <= stop <= excerpt.length:
            raise ValueError(
                f"excerpt {excerpt.id} has {excerpt.length} items: {start}..{stop} is not within it"
            )
        return self._map(prefix, excerpt)[excerpt.offset + start : excerpt.offset + stop]

    def release(self) -> None:
        """Give the pages that were read back to the system, which keeps them in its own cache as long as
        there is room. Reading through a large data set would otherwise seem to need as much memory as it has
        bytes."""
        if advice := getattr(mmap, "MADV_DONTNEED", None):  # Windows has none
            for array in self._maps.values():
                array.base._mmap.madvise(advice)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # other processes map the shards themselves


class PackedAudio(_Packed):
    """``data/resampled``: mono audio at ``config["sample_rate"]``."""

    stage = "resample"

    def read(self, excerpt: Excerpt, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples ``start..stop`` of an excerpt: (N,) float32, full scale 1."""
        return self._slice("", excerpt, start, stop).astype(np.float32) / np.float32(32768)


class PackedFeatures(_Packed):
    """``data/features``: dB frames of every representation, and the training split's statistics.

    ``config`` is a FeatureConfig; ``statistics[representation]`` has ``top_db``, ``mean_db``
    and ``std_db`` (by domain, F numbers each).
    """

    stage = "features"

    def __init__(self, folder: str | Path):
        from retimbre.audio.features import FeatureConfig  # imports torch, which reading audio does without

        super().__init__(folder)
        self.config = FeatureConfig.from_dict(self.config)
        self.statistics = _read_json(self.folder / "statistics.json", self.stage)

    def read(
        self, excerpt: Excerpt, start: int = 0, stop: int | None = None, representation: str = "cqt"
    ) -> np.ndarray:
        """Frames ``start..stop`` of an excerpt: (T, F) float16 dB, a read-only slice of the memory map."""
        if representation not in self.statistics:
            raise RetimbreError(
                f"{self.folder} has no {representation!r} features; it has {', '.join(self.statistics)}."
            )
        return self._slice(f"{representation}_", excerpt, start, stop)


class PackedContent(_Packed):
    """``data/content``: what a transcriber hears of every excerpt, at the frames of the features."""

    stage = "content"

    def read(self, excerpt: Excerpt, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames ``start..stop`` of an excerpt: (T, C) float16, a read-only slice of the memory map; the
        channels C as :class:`retimbre.nn.transcriber.content.Content` has them."""
        return self._slice("content_", excerpt, start, stop)


def total_length(excerpts: Iterable[Excerpt]) -> int:
    """Samples or frames of all excerpts together."""
    return sum(excerpt.length for excerpt in excerpts)
