"""Some hundreds of damaged recordings; ``make fuzz`` tries 10,000. Numbers that failed once are kept."""

import pytest

from tests.fuzz import cases
from tests.fuzz.mutations import KINDS, damaged, seeds

# By `make fuzz`: floats near the end of their range overflowed; samples between those of the four times
# oversampled audio were louder than the true peak that was taken from it alone.
FOUND = [
    1001, 1871, 2117, 2455, 2680, 2808, 3107, 3237, 3484, 3644, 5761, 5951, 6185, 6237, 6265, 6328,
    6553, 6726, 6859, 7153, 7328, 7371, 7413, 8059, 8151, 8596, 9005, 9218, 9352, 9665, 9722,
]  # fmt: skip


def test_the_seeds_are_of_every_container_and_the_same_every_time():
    assert {kind for kind, _ in seeds()} >= {"WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "AU"}
    assert len({kind for kind, _ in seeds()}) >= len(KINDS) - 2
    assert [damaged(n) for n in range(40)] == [damaged(n) for n in range(40)]


@pytest.mark.parametrize("part", range(4))
def test_damaged_recordings_are_used_or_refused(tmp_path, part):
    ended = [cases.run(number, tmp_path) for number in range(part, 400, 4)]
    assert 0.2 < ended.count("used") / len(ended) < 0.95


@pytest.mark.parametrize("number", FOUND)
def test_what_failed_once_fails_no_more(tmp_path, number):
    cases.run(number, tmp_path)
