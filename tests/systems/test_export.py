"""Exported graphs say what the transfer says, under other runtimes too."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch

from retimbre.audio import peaks, products, spectral
from retimbre.audio.low_band import peak_phase
from retimbre.audio.spectral import spsi_phase
from retimbre.cli import main
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue, export
from tests.toys import ROOT
from tests.toys.models import RATE, melody, write_cyclegan, write_models, write_resynthesis

SAMPLES = 30001


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_resynthesis(write_models(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    """(N,) at the level that systems hear; it begins softly, as resamplers differ at a hard start."""
    x = melody(SAMPLES / RATE) * np.minimum(np.arange(SAMPLES) / 800, 1)
    return (0.1 * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def expected(system: object, block: int, audio: np.ndarray) -> np.ndarray:
    """The transfer of the audio, filled with silence to whole blocks."""
    return system.transfer(np.pad(audio, (0, -len(audio) % block)), "guitar")[: len(audio)]


def test_phases_that_follow_peaks_are_those_of_the_loops() -> None:
    """With flat peaks and valleys, and frames without any peak."""
    rng = np.random.default_rng(0)
    spectrum = np.abs(rng.standard_normal((257, 150))).astype(np.float32)
    spectrum[40:80] = np.round(2 * spectrum[40:80]) / 2
    spectrum[:, 50:60] = 0
    level_db = np.clip(20 * rng.standard_normal((50, 150)) - 40, -60, -20).astype(np.float32)
    for loop, followed in (
        (spsi_phase(spectrum, 512, 128), peaks.spsi_phase(torch.from_numpy(spectrum)[None], 512, 128)),
        (
            peak_phase(level_db, 32.7, 12, 0.016),
            peaks.constant_q_phase(torch.from_numpy(level_db)[None], 32.7, 12, 0.016),
        ),
    ):
        difference = np.exp(1j * loop) - np.exp(1j * followed[0].numpy())
        assert np.abs(difference).max() < 1e-4


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (511, 100)])
def test_products_are_the_short_time_fourier_transform(n_fft: int, hop: int) -> None:
    x = torch.randn(2, 5003, generator=torch.Generator().manual_seed(0))
    X = spectral.stft(x, n_fft, hop)
    torch.testing.assert_close(products.stft(x, n_fft, hop), X, rtol=0, atol=1e-4)
    torch.testing.assert_close(products.istft(X, n_fft, hop, 5003), x, rtol=0, atol=1e-5)


def test_the_graph_of_griffin_lim_says_what_the_transfer_says(models: Path, audio: np.ndarray) -> None:
    system = catalogue.load("resynthesis", models, "griffin_lim")
    graph = export.graph(system, "guitar")
    with torch.no_grad():
        made = graph(torch.from_numpy(audio)).numpy()
    wanted = expected(system, graph.block, audio)
    assert np.abs(wanted).max() > 1e-3 and np.abs(made - wanted).max() < 1e-4


def test_onnxruntime_says_what_the_transfer_says(models: Path, audio: np.ndarray, tmp_path: Path) -> None:
    """For a length that it was not traced with; the example runs it without torch."""
    path = tmp_path / "guitar.onnx"
    words = ["--models", str(models), "--vocoder", "istft", "-o", str(path)]
    main(["export", "--to", "guitar", *words])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["sample_rate"] == str(RATE)
    (made,) = session.run(None, {"audio": audio})
    system = catalogue.load("resynthesis", models, "istft")
    wanted = expected(system, export.graph(system, "guitar").block, audio)
    assert np.abs(wanted).max() > 1e-3 and np.abs(made - wanted).max() < 1e-4

    soundfile.write(tmp_path / "song.wav", audio, RATE, "FLOAT")
    example = [ROOT / "examples/onnx_transfer.py", path, tmp_path / "song.wav", tmp_path / "out.wav"]
    subprocess.run([sys.executable, "-I", *map(str, example)], check=True)
    heard, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == RATE and np.corrcoef(heard, made)[0, 1] > 0.9999
    assert "torch" not in example[0].read_text(encoding="utf-8").split('"""')[2]


def test_what_is_no_graph_is_refused_in_a_sentence(models: Path, tmp_path: Path) -> None:
    resynthesis = catalogue.load("resynthesis", models, "griffin_lim")
    write_cyclegan(tmp_path)
    cases = (
        (resynthesis, "guitar", "a.wav", "must end in .onnx or .pt2"),
        (resynthesis, "harp", "a.pt2", "'harp' is no instrument"),
        (catalogue.load("resynthesis", models, "wavenet"), "guitar", "a.pt2", "choose griffin_lim or istft"),
        (catalogue.load("resynthesis", models, "source_phase"), "guitar", "a.pt2", "choose griffin_lim"),
        (catalogue.load("cyclegan", models, "griffin_lim"), "guitar", "a.pt2", "cyclegan cannot be exported"),
    )
    for system, to, name, words in cases:
        with pytest.raises(RetimbreError, match=words):
            export.export(system, to, tmp_path / name)
        assert not (tmp_path / name).exists()
