"""What is kept, for how long, and where it does not go."""

import pickle

import numpy as np
import pytest

from retimbre.metrics.memory import Memory, content_key, kept_by_content


def test_the_oldest_unused_is_forgotten():
    memory, made = Memory(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        memory(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]


def test_a_memory_travels_empty():
    memory = Memory(3)
    memory("a", lambda: 1)
    again = pickle.loads(pickle.dumps(memory))
    assert again.size == 3 and not again.kept


def test_results_belong_to_samples_and_rate_and_are_read_only():
    calls = []

    @kept_by_content(4)
    def halved(audio, sample_rate):
        calls.append(sample_rate)
        return audio / 2

    x = np.arange(4.0)
    first = halved(x, 8000)
    assert halved(x.copy(), 8000) is first
    assert halved(x, 16000) is not first and halved(x + 1, 8000) is not first
    assert calls == [8000, 16000, 8000]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1
    assert content_key(x, 8000) == content_key(x.astype(np.float32), 8000) != content_key(x, 8001)
