"""Videos and playlists through yt-dlp, cut at silences; see docs/datasets/youtube.md.

Opt-in: nothing is chosen for the user. Every address has a folder of its own with yt-dlp's list of what is
done, so that a rerun adds only what is new, and an address that is no longer listed leaves without being
downloaded again when it comes back.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retimbre.audio.files import channel_blocks, probe
from retimbre.audio.levels import SoundingLevel
from retimbre.datasets.sources.base import Adapter, Track
from retimbre.datasets.sources.common import existing
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError

# extensions that libsndfile reads: nothing to convert
READABLE = ("wav", "flac", "mp3", "ogg", "opus", "aiff")
DONE = ".done.txt"
SILENCE_DB = 45.0  # below the loudest block: silent
GAP_S = 1.0  # a longer silence ends a stretch
SHORTEST_S = 2.0  # a shorter stretch is left out
MARGIN_S = 0.1  # kept around a stretch, for attacks and decays
NOTICE = (
    "rights: what you download belongs to others. You need their permission, a licence or an exception of "
    "your country's law, and YouTube's terms forbid downloads that it does not offer. Train on and publish "
    "only what you may."
)


def stretches(path: Path) -> list[tuple[float, float]]:
    """(start, duration) in seconds of what sounds for two seconds or more between silences of one.

    Channels' powers are averaged, so that opposite phases do not cancel. Raises RetimbreError as
    :func:`retimbre.audio.files.probe` does.
    """
    rate = probe(path).sample_rate
    level = SoundingLevel(rate)
    for block in channel_blocks(path):
        level.update(np.sqrt(np.square(block).mean(axis=1)))
    power, block_s, length_s = np.asarray(level.energies), level.step / rate, level.samples / rate
    if not power.any():
        return []
    loud = np.flatnonzero(power > power.max() * 10 ** (-SILENCE_DB / 10))
    breaks = np.flatnonzero(np.diff(loud) > GAP_S / block_s + 1)
    firsts, lasts = loud[np.append(0, breaks + 1)], loud[np.append(breaks, len(loud) - 1)]
    result = []
    for first, last in zip(firsts, lasts, strict=True):
        start, stop = max(0.0, first * block_s - MARGIN_S), min(length_s, (last + 1) * block_s + MARGIN_S)
        if stop - start >= SHORTEST_S:
            result.append((round(start, 3), round(stop - start, 3)))
    return result


class _Messages:
    """yt-dlp's messages: errors are kept, the rest is dropped."""

    def __init__(self):
        self.errors: list[str] = []

    def debug(self, text: str) -> None:
        pass

    info = warning = debug

    def error(self, text: str) -> None:
        self.errors.append(text.removeprefix("ERROR: ").splitlines()[0])


def _options(folder: Path, messages: _Messages) -> dict[str, Any]:
    ffmpeg = shutil.which("ffmpeg") is not None
    ready = "/".join(f"{kind}[ext={ext}]" for ext in READABLE for kind in ("bestaudio", "best"))
    to_flac = "/".join([*(f"{ext}>{ext}" for ext in READABLE if ext != "aiff"), "flac"])
    return {
        "format": "bestaudio/best" if ffmpeg else ready,
        "outtmpl": str(folder / "%(extractor_key)s-%(id)s.%(ext)s"),
        "download_archive": str(folder / DONE),
        "postprocessors": [{"key": "FFmpegExtractAudio", "preferredcodec": to_flac, "preferredquality": None}]
        if ffmpeg
        else [],
        "ignoreerrors": True,  # a private video must not end its playlist
        "cachedir": False,
        "logger": messages,
        "noprogress": True,
        "quiet": True,
    }


def _forget_missing(folder: Path) -> None:
    """Take out of the list of what is done the videos whose files are gone."""
    path = folder / DONE
    if path.exists():
        have = {file.stem.lower() for file in folder.iterdir() if file.suffix.removeprefix(".") in READABLE}
        lines = path.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line.replace(" ", "-", 1).lower() in have]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class YouTube(Adapter):
    """The videos that ``dataset.youtube`` lists for each domain. A piece is a video."""

    name = "youtube"
    title = "videos of dataset.youtube"
    homepage = "https://github.com/yt-dlp/yt-dlp"
    licence = "unknown: the rights are their owners'"

    def fetch(self, folder: Path, domains: Sequence[str], dataset: Dataset, seed: int) -> None:
        """Download what ``dataset.youtube`` lists and is not there. Raises RetimbreError for no result."""
        try:
            from yt_dlp import YoutubeDL
        except ImportError:
            raise RetimbreError(
                "dataset.source youtube needs yt-dlp: `pip install yt-dlp`, and ffmpeg, which converts."
            ) from None
        print(NOTICE, flush=True)
        for domain in domains:
            addresses = {
                hashlib.sha256(address.encode()).hexdigest()[:12]: address
                for address in dataset.youtube[domain]
            }
            self._show_only(Path(folder) / domain, set(addresses))
            errors = []
            for key, address in addresses.items():
                place = Path(folder) / domain / key
                place.mkdir(parents=True, exist_ok=True)
                _forget_missing(place)
                messages = _Messages()
                with YoutubeDL(_options(place, messages)) as downloader:
                    downloader.download([address])
                for message in messages.errors:
                    print(f"youtube: {address}: {message}", flush=True)
                errors += messages.errors
            if not self._videos(Path(folder), domain):
                reason = self._reason(errors)
                raise RetimbreError(f"dataset.youtube.{domain}: nothing could be downloaded ({reason}).")

    @staticmethod
    def _reason(errors: list[str]) -> str:
        unfit = any("Requested format is not available" in error for error in errors)
        if unfit and shutil.which("ffmpeg") is None:
            return "it must be converted, which ffmpeg does: install ffmpeg"
        said = f"{errors[0].rstrip('.')}: check the address" if errors else ""
        return said or "the addresses hold no audio: check them"

    @staticmethod
    def _show_only(place: Path, keys: set[str]) -> None:
        """Hide the folders of addresses that are not listed (with a dot), bring back those that are."""
        for folder in sorted(place.iterdir()) if place.is_dir() else []:
            key = folder.name.removeprefix(".")
            wanted = place / (key if key in keys else f".{key}")
            if folder != wanted:
                folder.rename(wanted)

    @staticmethod
    def _videos(root: Path, domain: str) -> list[Path]:
        """Files of a domain, each video once even when several addresses lead to it."""
        files = sorted(Path(root).glob(f"{domain}/[!.]*/[!.]*"), reverse=True)
        named = {file.name: file for file in files if file.suffix.removeprefix(".") in READABLE}
        return list(named.values())[::-1]

    def tracks(self, root: Path, domains: Sequence[str]) -> list[Track]:
        tracks = []
        for domain in domains:
            for file in self._videos(root, domain):
                path, piece = file.relative_to(root).as_posix(), f"youtube-{file.stem}"
                try:
                    parts = stretches(file)
                except RetimbreError:
                    parts = [(0.0, None)]  # the whole file: reading it will say what is wrong with it
                tracks += [Track(path, domain, piece, start_s=start, duration_s=d) for start, d in parts]
        return existing(root, tracks, domains, self.name)
