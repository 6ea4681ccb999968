"""The networks trained on toy recordings: killed and continued, in chunks, without a second instrument."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch

from retimbre.audio.levels import rms
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.preparation.caching import cache_features
from retimbre.datasets.preparation.hearing import cache_content
from retimbre.datasets.preparation.params import Features
from retimbre.errors import RetimbreError
from retimbre.nn.transcriber.content import CHANNELS, ONSET, Content
from retimbre.section import Machine
from retimbre.systems import catalogue, streaming
from retimbre.systems.base import Coded, Spectral, adjusted
from retimbre.systems.resynthesis.material import Batch, Crops, Material
from retimbre.systems.resynthesis.params import Params
from retimbre.systems.resynthesis.system import Change
from retimbre.systems.resynthesis.train import closest, fit
from retimbre.training.checkpoint import Scratch
from retimbre.training.fit import History
from retimbre.vocoders.catalogue import Vocoders
from tests.toys.features import run_of
from tests.toys.forks import run_until_killed
from tests.toys.models import FEATURES, RATE, melody, resynthesis_change, write_models
from tests.toys.project import smoke

RANGES = {"piano": [0, 87], "guitar": [55, 70]}
MACHINE = dict(log_every=2, checkpoint_every=3, jobs=1, joblib_backend="threading")
SCRIPT = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from retimbre.datasets.packed.data import Data
from retimbre.systems.resynthesis.params import Params
from retimbre.systems.resynthesis import train
from retimbre.training.checkpoint import Scratch
from tests.toys.features import run_of

hears, death, trained = sys.argv[1], int(sys.argv[2]), train.Trainer.step

def step(self, *batch):
    if self.hears == hears and batch[-1] == death:
        os.kill(os.getpid(), signal.SIGKILL)
    return trained(self, *batch)

train.Trainer.step = step
with Scratch("toy", "r") as scratch:
    train.fit(Data(), Params.model_validate(eval(sys.argv[3])), run_of(scratch, **eval(sys.argv[4])))
"""


def values(**changes: object) -> dict[str, object]:
    """The smoke profile's section, smaller still."""
    return (
        smoke()["resynthesis"]
        | {"steps": 6, "round_steps": 6, "spectrum_steps": 6, "joint_steps": 6}
        | changes
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data``: two instruments, 4 pieces of 3 s each, and untrained vocoders."""
    folder = tmp_path_factory.mktemp("project")
    data = folder / "data"
    with AudioWriter(data / "resampled", RATE, 0.1, 100) as writer:
        for n, domain in enumerate(("piano", "guitar")):
            for piece in range(4):
                x = np.roll(melody(3.0), (4 * n + piece) * 4000) * np.linspace(1, 1 - 0.5 * n, 3 * RATE)
                codes = np.rint(x * (0.1 / rms(x)) * 32767).clip(-32768, 32767).astype(np.int16)
                writer.add(codes, domain, "train", f"piece{n}{piece}")
    machine = Machine(jobs=1, joblib_backend="threading")
    known = {name: value for name, value in FEATURES.to_dict().items() if name != "sample_rate"}
    features = Features.model_validate(known)
    cache_features(data / "resampled", data / "features", features, 100, machine)
    cache_content(data / "resampled", data / "content", features, 100, machine)
    write_models(data / "models")
    return folder


@pytest.fixture
def data(project: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.chdir(project)
    torch.manual_seed(0)
    return Data()


def trained(data: Data, scratch: Scratch | None = None, **changes: object) -> tuple[Change, History]:
    return fit(data, Params.model_validate(values(**changes)), run_of(scratch, **MACHINE))


@pytest.fixture(scope="module")
def whole(project: Path) -> tuple[Change, History]:
    """A training that nothing interrupts."""
    with contextlib.chdir(project):
        torch.manual_seed(0)
        return trained(Data())


def test_content_on_disk_is_what_is_heard(data: Data) -> None:
    e = data.content.index[3]
    (recording,) = (other for other in data.audio.index if other.id == e.id)
    heard = Content(data.features.config).frames(data.audio.read(recording)).astype(np.float16)
    assert np.array_equal(data.content.read(e), heard)
    assert len(heard) == data.features.index[3].length, "as many frames as the features have"


def test_it_learns_and_travels(data: Data, tmp_path: Path) -> None:
    model, history = trained(data, steps=60, channels=32, learning_rate=3e-3)
    losses = [row["content/lsd"] for row in history if "content/lsd" in row]
    assert losses[-1] < 0.7 * losses[0]
    assert [row["step"] for row in history] == sorted({row["step"] for row in history}), "one long curve"
    assert isinstance(model, Coded) and model.sources is None and model.targets == ["piano", "guitar"]
    catalogue.store("resynthesis", Params.model_validate(values()), model, tmp_path / "resynthesis")
    again = Change.load(tmp_path / "resynthesis")
    x = melody(1.0)
    spectrum_db = np.full((FEATURES.cqt_bins, FEATURES.frames(len(x))), -20.0, np.float32)
    one, two = (m.decode(m.encode(x), spectrum_db, "guitar") for m in (model, again))
    assert np.array_equal(one, two) and one.shape == spectrum_db.shape
    other = again.decode(again.encode(x), spectrum_db, "piano")
    assert np.abs(other - two).max() > 0.1, "the instrument is heard"
    with pytest.raises(RetimbreError, match="harp"):
        again.decode(again.encode(x), spectrum_db, "harp")


@pytest.mark.parametrize(("hears", "death", "phases"), [("content", 7, 1), ("both", 5, 4)])
def test_killed_in_any_phase_ends_with_the_same_bytes(
    whole: tuple[Change, History],
    data: Data,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hears: str,
    death: int,
    phases: int,
) -> None:
    run_until_killed(tmp_path, SCRIPT, hears, str(death), repr(values()), repr(MACHINE))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    torch.manual_seed(death)  # another state than the killed one's
    with Scratch("toy", "r") as scratch:
        assert len(scratch.load()) == phases, "what is done, and what is begun"
        continued, again = trained(data, scratch)
    for name, model in (("whole", whole[0]), ("continued", continued)):
        model.save(tmp_path / name)
    one, two = ((tmp_path / name / "networks.safetensors").read_bytes() for name in ("whole", "continued"))
    assert one == two and again == whole[1]


def test_context_is_what_an_output_depends_on() -> None:
    made, frames = resynthesis_change().networks, 101
    content, spectrum = torch.zeros(1, CHANNELS, frames), torch.zeros(1, FEATURES.cqt_bins, frames)
    content.requires_grad_(), spectrum.requires_grad_()
    made(content, spectrum, torch.tensor([0]))[..., frames // 2].sum().backward()
    for x in (content, spectrum):
        (seen,) = np.nonzero(x.grad.abs().sum((0, 1)).numpy())
        assert seen.min() == frames // 2 - made.context and seen.max() == frames // 2 + made.context


def test_share_mixes_the_networks() -> None:
    x = (torch.rand(1, CHANNELS, 20), torch.rand(1, FEATURES.cqt_bins, 20), torch.tensor([1]))
    alone, other, both = (resynthesis_change(share).networks(*x) for share in (0.0, 1.0, 0.25))
    assert torch.allclose(both, 0.75 * alone + 0.25 * other, atol=1e-6)


def test_instruments_begin_as_what_is_nearest_though_no_batch_has_them_all() -> None:
    start, likes = resynthesis_change(), [1, 0, 1]
    batches = []
    for place, like in enumerate(likes):
        content = torch.rand(1, CHANNELS, 20)
        with torch.no_grad():
            target = start.networks.content(content, torch.tensor([like])) + 0.01
        batches.append(Batch(content, target, target, torch.tensor([place])))
    assert [closest(start, batches, place) for place in range(3)] == likes


def test_chunks_join_as_the_whole(project: Path) -> None:
    vocoder = Vocoders.load(project / "data/models/vocoder").by("source_phase")
    system = Spectral("resynthesis", resynthesis_change(ranges=RANGES), vocoder)
    x = melody(24.0) * np.linspace(1, 0.3, 24 * RATE, dtype=np.float32)
    x *= 0.1 / rms(x)
    whole = streaming.transfer(system, x, RATE, "guitar", chunking=streaming.Chunking(body_s=60))
    chunks = streaming.transfer(system, x, RATE, "guitar", chunking=streaming.Chunking(body_s=6))
    assert np.abs(whole).max() > 0.05
    assert np.abs(whole - chunks).max() < 1e-4


def test_one_instrument_is_enough(data: Data) -> None:
    features = Data().features
    features.index = [e for e in features.index if e.domain == "guitar"]
    alone = Data()
    alone.features = features
    model, _ = trained(alone)
    assert model.targets == ["guitar"]


def test_renderings_are_other_instruments_of_the_same_music(data: Data) -> None:
    made = resynthesis_change()
    vocoder = Vocoders.load(Path("data/models/vocoder")).by("griffin_lim")
    material = Material(data, made, vocoder, 1.0, Machine(jobs=1, joblib_backend="threading"), seed=3)
    material.back_translate(1)
    assert set(material.rendered) == {e.id for e in data.features.index}
    first = dict(material.rendered)
    e = data.features.index[0]
    content = data.content.read(material.content_of[e.id])
    by_hand = made.decode(content, data.features.read(e).T, "guitar")
    played = vocoder.synthesise(by_hand, 3 * RATE, "guitar")
    heard = made.encode((played * (0.1 / rms(played))).astype(np.float32)).astype(np.float16)
    assert np.array_equal(first[e.id].content, heard), "a piano's piece on the guitar, heard again"
    assert not np.array_equal(first[e.id].content, first[data.features.index[2].id].content)
    crops = Crops(material, Params.model_validate(values()), 5, 1.0)
    batch = crops.batch(7)
    assert batch.instrument.tolist() == [0, 1, 0, 1], "instruments take turns"
    assert torch.equal(batch.content, crops.batch(7).content), "a function of the step alone"
    own = Crops(material, Params.model_validate(values()), 5, 0.0).batch(7)
    assert torch.equal(own.spectrum, own.target), "a recording hears itself"
    assert not torch.equal(batch.spectrum, batch.target)
    even = Crops(material, Params.model_validate(values(vary_sustain=0.0)), 5, 1.0).batch(7)
    assert not torch.equal(batch.content, even.content), "sustain varies in the last phase, too"
    assert torch.equal(batch.content[:, ONSET], even.content[:, ONSET]), "but no level"
    assert torch.equal(batch.spectrum, even.spectrum), "and no pitch"


def tone(midi: float, seconds: float = 4.0) -> np.ndarray:
    """Four decaying notes of a pitch, (N,) of RMS 0.1."""
    t = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((midi - 69) / 12)
    x = sum(np.sin(2 * np.pi * hz * h * t) / h for h in range(1, 6)) * np.exp(-2 * (t % 1))
    return (x * (0.1 / rms(x))).astype(np.float32)


def test_the_music_is_brought_into_the_range_of_the_target(project: Path) -> None:
    vocoder = Vocoders.load(project / "data/models/vocoder").by("griffin_lim")
    system = Spectral("resynthesis", resynthesis_change(ranges=RANGES), vocoder)
    low = tone(57)  # key 36: 19 below the range
    assert not system.fits and adjusted(system, None, 1.0).fits
    fitted, said = adjusted(system, None, 1.0).fitted(low, "guitar")
    assert fitted.change.octaves == 2 and said == "transposed by +2 octaves into the range of the guitar"
    assert adjusted(system, None, 1.0).fitted(low, "piano")[1] == "", "it lies there"
    by_hand = adjusted(system, 2, 1.0).spectrum(low, "guitar")
    assert np.array_equal(fitted.spectrum(low, "guitar"), by_hand)
    assert not np.array_equal(system.spectrum(low, "guitar"), by_hand)
    even = adjusted(system, 0, 0.0)
    assert not np.array_equal(even.spectrum(low, "guitar"), system.spectrum(low, "guitar"))
    heard = streaming.transfer(adjusted(system, None, 1.0), low, RATE, "guitar")
    assert np.array_equal(heard, streaming.transfer(adjusted(system, 2, 1.0), low, RATE, "guitar"))
