import pytest
import torch
from safetensors.torch import load_file

from retimbre.errors import RetimbreError
from retimbre.nn import weights as storage


def test_weights_come_back_and_others_may_read_them(tmp_path):
    network = torch.nn.Conv1d(2, 3, 3)
    storage.save_weights(tmp_path / "w.safetensors", network)
    assert all(
        torch.equal(v, network.state_dict()[k]) for k, v in load_file(tmp_path / "w.safetensors").items()
    )
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o044 == 0o044
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_write_that_fails_keeps_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    storage.save_weights(path, torch.nn.Linear(2, 2))
    before = path.read_bytes()

    def fill_the_disk(tensors, part):
        part.write_bytes(b"half")
        raise storage.SafetensorError("No space left on device")

    monkeypatch.setattr(storage, "save_file", fill_the_disk)
    with pytest.raises(storage.SafetensorError):
        storage.save_weights(path, torch.nn.Linear(2, 2))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("error", "words"),
    [(FileNotFoundError(), "dvc repro x"), (KeyError("a"), "damaged"), (RuntimeError("shape"), "damaged")],
)
def test_reading_names_the_folder_and_what_to_do(tmp_path, error, words):
    with pytest.raises(RetimbreError, match=words) as refusal, storage.reading(tmp_path, "model", "x"):
        raise error
    assert str(tmp_path) in str(refusal.value)
