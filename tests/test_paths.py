"""Paths that users give, and files that appear complete or not at all."""

import threading

import pytest

from retimbre.errors import RetimbreError
from retimbre.paths import project_root, user_path, write_atomically


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new/metrics.json"
    with write_atomically(path) as file:
        file.write("1\n")
        assert not path.exists()
    with pytest.raises(ValueError), write_atomically(path) as file:
        file.write("half")
        raise ValueError
    assert path.read_text() == "1\n" and list(path.parent.iterdir()) == [path]


def test_several_may_write_the_same_file(tmp_path):
    path, texts = tmp_path / "x", [f"{n}" * 100_000 for n in range(4)]

    def write(text):
        with write_atomically(path) as file:
            file.write(text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts and list(tmp_path.iterdir()) == [path]


def test_relative_paths_are_below_the_projects_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert user_path("music", "dataset.archives") == project_root() / "music" == tmp_path / "music"
    (tmp_path / "original").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "original"))
    assert user_path("music", "dataset.archives") == tmp_path / "original/music"
    assert user_path("/music", "dataset.archives").as_posix() == "/music"
    with pytest.raises(RetimbreError, match="dataset.archives: ~nobody-of-this-name/x leads nowhere"):
        user_path("~nobody-of-this-name/x", "dataset.archives")
