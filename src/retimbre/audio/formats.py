"""Formats that audio is written in, by the ending of a file's name, as libsndfile knows them."""

from dataclasses import dataclass
from pathlib import Path

from retimbre.errors import RetimbreError

LARGEST_WAV = 2**32 - 2**16  # bytes of samples: a WAV's sizes have 32 bits, and its header needs room


@dataclass(frozen=True)
class Format:
    """A format of files. ``container`` and, of a lossy one, ``codec``: libsndfile's names; ``rates``: the
    only ones in Hz, in ascending order (empty: all up to ``highest_hz``); ``channels``: at most; ``floats``:
    samples may be floats.
    """

    container: str
    codec: str = ""
    rates: tuple[int, ...] = ()
    highest_hz: int = 768_000
    channels: int = 255
    floats: bool = False

    def rate(self, wanted: int) -> int:
        """The wanted rate in Hz, else the next one above that the format has, else its highest."""
        if self.rates:
            return next((rate for rate in self.rates if rate >= wanted), self.rates[-1])
        return min(wanted, self.highest_hz)

    def subtype(self, wanted: str) -> str:
        """libsndfile's name of an encoding of samples that keeps what ``wanted``, PCM or FLOAT, would."""
        return self.codec or ("PCM_24" if wanted == "FLOAT" and not self.floats else wanted)

    def container_of(self, size: int) -> str:
        """The container for so many bytes of samples: a WAV beyond 4 GB is an RF64."""
        return "RF64" if self.container == "WAV" and size > LARGEST_WAV else self.container


FORMATS = {
    "wav": Format("WAV", channels=1024, floats=True),
    "flac": Format("FLAC", highest_hz=384_000, channels=8),
    # libsndfile crashes above 200 kHz
    "ogg": Format("OGG", "VORBIS", highest_hz=192_000),
    "opus": Format("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "mp3": Format(
        "MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), channels=2
    ),
}


def format_of(path: Path) -> Format:
    """The format that a file's name asks for. Raises RetimbreError for an ending that is not written."""
    ending = path.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        *known, last = (f".{ending}" for ending in FORMATS)
        raise RetimbreError(f"{path} must end in {', '.join(known)} or {last}: that is what is written.")
    return FORMATS[ending]
