"""``retimbre doctor`` on what is there, and on what is amiss."""

import pytest
import torch
import yaml

from retimbre import cli
from tests.toys.models import write_models
from tests.toys.project import smoke


def doctor(capsys: pytest.CaptureFixture[str], status: int) -> dict[str, list[str]]:
    """Lines by subject, each with its state."""
    if status:
        with pytest.raises(SystemExit) as stop:
            cli.main(["doctor"])
        assert stop.value.code == status
    else:
        cli.main(["doctor"])
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        state, subject, text = line.split(maxsplit=2)
        found.setdefault(subject, []).append(f"{state} {text}")
    return found


def test_a_folder_with_trained_models_is_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path / "data/models")
    found = doctor(capsys, 0)
    assert set(found) == {"python", "packages", "disk", "memory", "cores", "gpu", "folders", "models"}
    assert [line.split()[0] for lines in found.values() for line in lines].count("error") == 0
    assert any("cyclegan, to piano, guitar" in line for line in found["models"])


def test_what_is_amiss_is_named_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path / "data/models")
    weights = next((tmp_path / "data/models/cyclegan").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    changed = smoke(dataset={"source": "folder", "folders": {"piano": "gone", "guitar": "gone"}})
    changed["machine"] |= {"accelerator": "gpu", "jobs": 1000}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
    (tmp_path / "requirements.txt").write_text("# pins\nnumpy==1.0\nno-such-package==1.0\n")
    (tmp_path / "requirements-no-deps.txt").write_text('pywin32==300; sys_platform == "win32"\n')
    monkeypatch.setenv("RETIMBRE_DOWNLOADS", "/proc")
    found = doctor(capsys, 1)
    assert found["params"] == ["ok params.yaml is valid"]
    missing, other = found["packages"]
    assert missing == "error not installed: no-such-package: `make setup` installs them"
    assert other.startswith("note other versions than tried: numpy ") and "(==1.0)" in other
    assert found["cores"][0].startswith("note ") and "machine.jobs (1000)" in found["cores"][0]
    assert torch.cuda.is_available() or "but machine.accelerator is gpu: set it" in found["gpu"][0]
    assert found["folders"][0].startswith("error /proc cannot be written to")
    assert found["git"][0].startswith("note this is no clone")
    assert found["data"][0].startswith("error dataset.folders.piano: ") and "not a folder" in found["data"][0]
    (damaged,) = (line for line in found["models"] if line.startswith("error"))
    assert "cyclegan is damaged" in damaged and "dvc checkout" in damaged

    (tmp_path / "params.yaml").write_text("seed: -1\n")
    found = doctor(capsys, 1)
    assert found["params"][0].startswith("error params.yaml: ") and "data" not in found


def test_without_models_they_are_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("retimbre.systems.library.SHIPPED", tmp_path)
    assert doctor(capsys, 1)["models"] == [
        "error data/models has no trained system: `make repro` trains, `dvc pull` fetches what a remote has"
    ]
