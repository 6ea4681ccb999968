"""Stretches that are used: splits by piece, subsets by hours, held-out excerpts, minutes to train on.

Everything follows from hashes of names: no order of files, no clock, no random state. Adding files leaves
the others where they are, and a larger subset contains a smaller one's pieces in (almost) all cases.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from retimbre.datasets.recordings.manifest import SPLITS, Recording
from retimbre.errors import RetimbreError

TEST_SHARE, VALIDATION_SHARE = 0.12, 0.08  # the rest is for training
LEAST_TRAINING_S = 10.0
# Of a recording: crops of about a second are trained on, and clips of 3 s are held out whole.
SHORTEST_S = 1.5
HELD_OUT = ("validation", "test")


Part = tuple[Recording, Recording]  # a recording, and what is taken of it


def unit_hash(text: str) -> float:
    """A number in [0, 1) that depends on the text only."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:7], "big") / 2**56


def split_of_hash(place: float) -> str:
    """Test 12 %, validation 8 %, the rest training, by a number in [0, 1)."""
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def assign_splits(
    domains_of: Mapping[str, set[str]], official: Mapping[str, str], label: str
) -> dict[str, str]:
    """Splits of pieces by their domains (``domains_of``) and the publisher's split (``official``, "": none).

    A piece without an official split gets one by its hash. Where a split is empty (publishers often have no
    validation split), training pieces are taken by their hash, and then, in small sets, one piece of the
    largest split; a piece goes with all its domains. Raises RetimbreError for a domain with fewer pieces
    than splits.
    """
    place = {piece: unit_hash(f"piece {piece}") for piece in domains_of}
    split = {piece: official[piece] or split_of_hash(place[piece]) for piece in sorted(domains_of)}
    for missing in HELD_OUT:
        if missing not in split.values():
            split |= {
                piece: missing
                for piece in split
                if split[piece] == "train" and split_of_hash(place[piece]) == missing
            }
    for domain in sorted({domain for domains in domains_of.values() for domain in domains}):
        own = [piece for piece in split if domain in domains_of[piece]]
        for missing in ("test", "validation", "train"):
            if missing in (split[piece] for piece in own):
                continue
            spare = [piece for piece in own if _spare(piece, split, domains_of)]
            if not spare:
                raise RetimbreError(
                    f"{label}: {domain} has {len(own)} separate recordings, but training, validation and "
                    "test need different ones: choose another domain or source."
                )
            size = {name: sum(split[piece] == name for piece in own) for name in SPLITS}
            split[min(spare, key=lambda piece: (-size[split[piece]], place[piece]))] = missing
    return split


def _spare(piece: str, split: Mapping[str, str], domains_of: Mapping[str, set[str]]) -> bool:
    """True when every domain of a piece has another one in the same split."""
    others = [other for other in split if other != piece and split[other] == split[piece]]
    return all(any(domain in domains_of[other] for other in others) for domain in domains_of[piece])


def subset(pieces: Iterable[tuple[str, str, float]], hours: float, seed: int) -> set[str]:
    """Pieces of at most ``hours`` in all, in the proportions of the splits; ``pieces``: (name, split,
    seconds), names may come several times. 0 hours takes everything. Each split keeps one piece at least,
    the shortest if need be.
    """
    seconds: dict[tuple[str, str], float] = {}
    for piece, split, length in pieces:
        seconds[split, piece] = seconds.get((split, piece), 0.0) + length
    total = sum(seconds.values())
    if hours == 0 or total <= hours * 3600:
        return {piece for _, piece in seconds}
    chosen: set[str] = set()
    for split in sorted({split for split, _ in seconds}):
        own = sorted(
            (piece for name, piece in seconds if name == split),
            key=lambda piece: (unit_hash(f"{seed} {piece}"), piece),
        )
        left = hours * 3600 * sum(seconds[split, piece] for piece in own) / total
        taken = []
        for piece in own:
            if seconds[split, piece] <= left:
                taken.append(piece)
                left -= seconds[split, piece]
        chosen.update(taken or [min(own, key=lambda piece: seconds[split, piece])])
    return chosen


def held_out(
    recordings: Sequence[Recording],
    split: str,
    count: int,
    length_s: float,
    label: str,
    shortest_s: float = 0.0,
    more: str = "give more or longer recordings",
) -> list[Part]:
    """``count`` excerpts of ``length_s`` that do not overlap, of those recordings that are in ``split``:
    taken in turn, evenly spread.

    With ``shortest_s`` above 0 a recording shorter than ``length_s`` counts as one excerpt when it lasts
    that long. Raises RetimbreError when there are not so many; ``more`` tells how to get more.
    """
    own = [r for r in recordings if r.split == split]
    room = [int(r.duration_s / length_s) or int(0 < shortest_s <= r.duration_s) for r in own]
    if sum(room) < count:
        kept = f"the {len(own)} file(s) kept for {split} hold {sum(room)} excerpts of {length_s:g} s"
        raise RetimbreError(
            f"{label}: {kept}, but dataset.{split}_pieces asks for {count}: {more}, or lower it or "
            "dataset.excerpt_s."
        )
    turns = sorted((turn, i) for i, places in enumerate(room) for turn in range(places))[:count]
    taken = Counter(i for _, i in turns)
    parts = []
    for i, recording in enumerate(own):
        length_of_one, step_s = min(length_s, recording.duration_s), recording.duration_s / max(taken[i], 1)
        starts = [n * step_s + (step_s - length_of_one) / 2 for n in range(taken[i])]
        parts += [_part(recording, start, length_of_one) for start in starts]
    return parts


def training(
    recordings: Sequence[Recording], minutes: float, label: str, more: str = "give more recordings"
) -> list[Part]:
    """The training recordings in their order up to ``minutes`` (0: all), the last one cut.

    Raises RetimbreError for under 10 s; ``more`` advises.
    """
    left_s = minutes * 60 or float("inf")
    own = [r for r in recordings if r.split == "train"]
    parts = []
    for recording in own:
        if left_s > 0:
            parts.append(_part(recording, 0.0, min(recording.duration_s, left_s)))
            left_s -= recording.duration_s
    train_s = sum(part.duration_s for _, part in parts)
    if train_s < LEAST_TRAINING_S:
        advice = "raise dataset.train_minutes" if 0 < minutes * 60 < LEAST_TRAINING_S else more
        raise RetimbreError(
            f"{label}: {train_s:.1f} s to train on ({len(own)} file(s)), but {LEAST_TRAINING_S:g} s is the "
            f"least: {advice}."
        )
    return parts


def _part(recording: Recording, start_s: float, duration_s: float) -> Part:
    """A part of a recording, ``start_s`` after its beginning."""
    return recording, replace(recording, start_s=recording.start_s + start_s, duration_s=duration_s)
