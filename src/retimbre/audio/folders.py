"""Recordings below a folder."""

import os
import sys
from pathlib import Path

from retimbre.paths import shown

# What counts as a recording; the last row is named as unreadable, because libsndfile does not read it.
SUFFIXES = set(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64 .voc .sf .wve .mpc".split()
) | set(".m4a .aac .mp4 .wma .ape .alac .webm".split())


def recording_names(folder: Path) -> list[str]:
    """Paths of the recordings below ``folder``, relative, sorted; without hidden ones.

    Links are followed, but nothing counts twice: what a link leads to within ``folder``, or what another
    link led to already, is passed over and named on stderr, as is a folder that cannot be read.
    """
    within = folder.resolve()
    names, seen = [], {within}

    def is_new(path: Path) -> bool:
        to = path.resolve()
        if to in seen or (path.is_symlink() and to.is_relative_to(within)):
            print(shown(f"passed over {path}: it leads to what is there already"), file=sys.stderr)
            return False
        seen.add(to)
        return True

    def unreadable(error: OSError) -> None:
        print(shown(f"passed over {error.filename}: {error.strerror}"), file=sys.stderr)

    for root, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        folders[:] = [n for n in sorted(folders) if not n.startswith(".") and is_new(Path(root, n))]
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and is_new(path):
                names.append(path.relative_to(folder).as_posix())
    return sorted(names)
