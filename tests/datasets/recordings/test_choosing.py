"""Splits by piece, subsets by hours, held-out excerpts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retimbre.datasets.recordings.choosing import assign_splits, held_out, subset, training
from retimbre.datasets.recordings.manifest import SPLITS, Recording
from retimbre.errors import RetimbreError

PIECES = st.dictionaries(
    st.text(min_size=1, max_size=5), st.sets(st.sampled_from("ab"), min_size=1), min_size=1, max_size=30
)
OFFICIAL = st.sampled_from(["", "", *SPLITS])


def splits_of(domains_of, official=None):
    return assign_splits(domains_of, dict.fromkeys(domains_of, "") | (official or {}), "here")


@given(PIECES, st.data())
def test_every_domain_has_every_split_or_is_refused(domains_of, data):
    official = {piece: data.draw(OFFICIAL) for piece in domains_of}
    try:
        split = assign_splits(domains_of, official, "here")
    except RetimbreError as error:
        assert "separate recordings" in str(error)
        return
    assert split.keys() == domains_of.keys()
    for domain in {domain for domains in domains_of.values() for domain in domains}:
        assert {split[piece] for piece in domains_of if domain in domains_of[piece]} == set(SPLITS)


def test_splits_follow_from_the_names_and_the_publisher():
    many = {f"piece {n}": {"a"} for n in range(1000)}
    split = splits_of(many)
    assert split == splits_of(dict(reversed(many.items())))
    counts = {name: list(split.values()).count(name) for name in SPLITS}
    assert 90 < counts["test"] < 150 and 55 < counts["validation"] < 105
    more = splits_of(many | {f"new {n}": {"a"} for n in range(100)})
    assert all(more[piece] == split[piece] for piece in many)


def test_an_official_split_stays_and_a_missing_one_is_taken_from_training():
    pieces = {f"piece {n}": {"a", "b"} for n in range(200)}
    official = {piece: "test" if n % 4 == 0 else "train" for n, piece in enumerate(pieces)}
    split = splits_of(pieces, official)
    assert all(split[piece] == "test" for piece in pieces if official[piece] == "test")
    validation = [piece for piece in pieces if split[piece] == "validation"]
    assert 4 <= len(validation) <= 25 and all(official[piece] == "train" for piece in validation)
    assert list(split.values()).count("test") == 50


def test_two_pieces_cannot_fill_three_splits():
    with pytest.raises(
        RetimbreError,
        match="here: a has 2 separate recordings, but training, validation and test need different ones",
    ):
        splits_of({"x": {"a"}, "y": {"a"}})


def length(rows, chosen, split=None):
    return sum(seconds for piece, name, seconds in rows if piece in chosen and split in (None, name))


@given(
    st.lists(st.tuples(st.integers(0, 40), st.floats(1, 600)), min_size=1, max_size=80),
    st.floats(0.01, 3),
    st.integers(0, 9),
)
def test_a_subset_keeps_the_hours_and_every_split(lengths, hours, seed):
    rows = [(f"p{n}", SPLITS[n % 3], seconds) for n, seconds in lengths]
    chosen = subset(rows, hours, seed)
    assert chosen == subset(list(reversed(rows)), hours, seed)
    splits = {split for _, split, _ in rows}
    assert {split for piece, split, _ in rows if piece in chosen} == splits
    for split in splits:
        share = length(rows, {piece for piece, _, _ in rows}, split) / length(
            rows, {piece for piece, _, _ in rows}
        )
        taken = {piece for piece, name, _ in rows if name == split and piece in chosen}
        assert (
            length(rows, chosen, split) <= share * hours * 3600 * 1.000001
            or len(taken) == 1
            or len(chosen) == len({p for p, _, _ in rows})
        )


def test_a_subset_keeps_the_proportions_and_depends_on_the_seed():
    rows = [
        (f"p{n}", "test" if n % 5 == 0 else "validation" if n % 5 == 1 else "train", 60.0) for n in range(600)
    ]
    chosen = subset(rows, 2.0, 1)
    assert [length(rows, chosen, split) for split in SPLITS] == [72 * 60, 24 * 60, 24 * 60]
    assert chosen != subset(rows, 2.0, 2)
    assert subset(rows, 0, 1) == subset(rows, 10, 1) == {piece for piece, _, _ in rows}
    assert subset(rows, 1.0, 1) < chosen, "a smaller subset is part of a larger one"


def stretch(name, seconds, start=0.0, split="test"):
    return Recording(name, "lute", name, split, "", start, seconds, 8000, "", "")


def test_short_clips_are_held_out_whole_when_allowed():
    clips = [stretch("a", 3.0, 5.0), stretch("b", 0.5), stretch("c", 20.0)]
    with pytest.raises(
        RetimbreError,
        match=r"3 file\(s\) kept for test hold 2 excerpts of 8 s, but dataset.test_pieces asks for 3",
    ):
        held_out(clips, "test", 3, 8.0, "here")
    chosen = held_out(clips, "test", 3, 8.0, "here", shortest_s=1.5)
    assert [(c.path, c.start_s, c.duration_s) for _, c in chosen] == [
        ("a", 5.0, 3.0),
        ("c", 1.0, 8.0),
        ("c", 11.0, 8.0),
    ]


def test_training_stops_at_the_minutes_within_a_file():
    files = [stretch(name, 20.0, start, "train") for name, start in (("a", 0.0), ("b", 3.0), ("c", 0.0))]
    assert [(s.path, s.start_s, s.duration_s) for _, s in training(files, 0.5, "here")] == [
        ("a", 0.0, 20.0),
        ("b", 3.0, 10.0),
    ]
    assert len(training(files, 0, "here")) == 3
    with pytest.raises(RetimbreError, match="here: 6.0 s to train on .*: raise dataset.train_minutes"):
        training(files, 0.1, "here", "raise dataset.limit_hours")
    with pytest.raises(RetimbreError, match="here: 9.0 s to train on .*: raise dataset.limit_hours"):
        training([stretch("a", 9.0, split="train")], 0, "here", "raise dataset.limit_hours")
