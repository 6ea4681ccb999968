"""The WaveNet vocoder around its network: codec, reversal, beams, training on small packed data."""

import numpy as np
import pytest
import torch

from retimbre import params
from retimbre.audio.features import FeatureConfig, spectrum_of
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter, FeatureWriter, PackedAudio
from retimbre.errors import RetimbreError
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.systems import catalogue, streaming
from retimbre.systems.streaming import Chunking
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from retimbre.vocoders.kinds import STARTS_FROM
from retimbre.vocoders.params import Rendering, Sampling
from retimbre.vocoders.wavenet import train as wavenet_train
from retimbre.vocoders.wavenet.beams import LevelCost
from retimbre.vocoders.wavenet.codec import Codec, backwards, backwards_levels, forwards
from retimbre.vocoders.wavenet.params import Params
from retimbre.vocoders.wavenet.vocoder import WaveNetVocoder
from tests.toys.models import melody, write_models
from tests.toys.project import smoke
from tests.toys.vocoders import vocoder_params

HOP, RATE, TOP_DB = 256, 16000, 0.0
FEATURES = FeatureConfig(RATE, HOP, "retimbre", 32.7031956626, 84, 12, 1024, 20, 60.0)
CONFIG = {
    "features": FEATURES.to_dict(),
    "representation": "mel",
    "domains": ["piano", "guitar"],
    "top_db": TOP_DB,
    "rms": 0.1,
    "preemphasis": 0.85,
    "gain": 1.6,
    "reverse": False,
}


def levels(x: np.ndarray, representation: str = "mel") -> np.ndarray:
    return spectrum_of(x, FEATURES, representation)


def vocoder(reverse: bool = False, **changes) -> WaveNetVocoder:
    torch.manual_seed(0)
    sizes = {
        "layers": 4,
        "layers_per_stack": 4,
        "residual_channels": 8,
        "skip_channels": 8,
        "conditioning_channels": 8,
    }
    network = WaveNet(
        WaveNetConfig(20, HOP, 2, **sizes, **changes), torch.full((20,), -30.0), torch.full((20,), 15.0)
    )
    config = CONFIG | {"wavenet": network.config.to_dict(), "reverse": reverse}
    return WaveNetVocoder(network, config, {}, Rendering(wavenet=Sampling(temperature=0.9)))


def clicks(length: int, at: list[int]) -> np.ndarray:
    x = np.zeros(length, np.float32)
    x[at] = 0.5
    return x


# ---------------------------------------------------------------- codec and reversal


@pytest.mark.parametrize("pcm", [False, True])
def test_codec_round_trip(pcm):
    x = (0.3 * np.sin(np.arange(3000) / 20)).astype(np.float32)
    codec = Codec(0.85, 1.6, pcm)
    codes = codec.encode(x)
    assert codes.dtype == np.int64 and 0 <= codes.min() and codes.max() < (65536 if pcm else 256)
    error = np.sqrt(np.mean((codec.decode(codes) - x) ** 2) / np.mean(x**2))
    assert error < (2e-3 if pcm else 0.05)
    np.testing.assert_array_equal(codec.encode(np.zeros(5, np.float32)), 32768 if pcm else 128)


@pytest.mark.parametrize("representation", ["stft", "mel"])
def test_crops_stay_aligned_backwards(representation):
    """A click train: the levels of the reversed crop are the reversed levels of the crop, to the sample."""
    frames = 24
    x = clicks(frames * HOP, [1500, 2000, 3077, 4000])
    expected = np.flip(levels(x, representation), -1)
    np.testing.assert_allclose(levels(backwards(x), representation), expected, atol=1e-2)
    one_late = levels(np.ascontiguousarray(x[::-1]), representation)
    assert np.abs(one_late - expected).max() > 0.1  # plain reversal is one sample off, and this test sees it


@pytest.mark.parametrize("length", [24 * HOP, 24 * HOP + 1, 24 * HOP + 100, 25 * HOP - 1])
def test_whole_signals_stay_aligned_backwards(length):
    x = clicks(length, [1500, 2000, 3077, length - 600])
    level_db = levels(x, "stft")
    T = level_db.shape[1]
    y = np.pad(x, (0, T * HOP + 1 - length))[::-1]
    expected = backwards_levels(torch.from_numpy(level_db)).numpy()
    np.testing.assert_array_equal(forwards(y, length), x)
    np.testing.assert_allclose(levels(np.ascontiguousarray(y), "stft")[:, 1:], expected[:, 1:], atol=1e-2)
    np.testing.assert_array_equal(expected[:, 0], level_db[:, -1])


def test_examples_backwards_are_codes_of_the_reversed_audio():
    x = np.random.default_rng(0).normal(0, 0.1, (2, 4 * HOP)).astype(np.float32)
    level_db = torch.randn(2, 20, 5)
    codes, turned = Codec(0.85, 1.6, reverse=True).example(x, level_db)
    np.testing.assert_array_equal(codes.numpy(), Codec(0.85, 1.6).encode(backwards(x)))
    assert torch.equal(turned, level_db.flip(-1))
    assert codes.shape == (2, 4 * HOP) and codes.dtype == torch.int64


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [20 * HOP, 20 * HOP + 77])
def test_what_the_levels_ask_for_comes_at_its_time(reverse, length, monkeypatch):
    """An oracle in the network's place clicks at every loud frame's centre, in the network's own time."""
    part, loud = vocoder(reverse), [3, 7, 8, 15]
    level_db = np.full((20, length // HOP + 1), -60.0, np.float32)
    level_db[:, loud] = 0

    def oracle(shown, domain, samples, *_):
        codes = np.full(samples, 128)
        codes[np.flatnonzero(shown[0].numpy() > -1) * HOP] = 250
        return codes

    monkeypatch.setattr(part, "_codes", oracle)
    x = part.wavenet(level_db, "piano", length)
    assert x.shape == (length,)
    np.testing.assert_array_equal(np.flatnonzero(x > 0.95 * x.max()), [t * HOP for t in loud])


def test_backwards_chunks_are_joined_where_they_are_alike():
    part = vocoder(reverse=True)
    level_db = np.random.default_rng(0).normal(-30, 10, (20, 81)).astype(np.float32)
    N = 80 * HOP
    before = part.wavenet(level_db[:, :41], "piano", 40 * HOP, seed=1)
    alone = part.wavenet(level_db, "piano", N, seed=2)
    joined = part.wavenet(level_db, "piano", N, seed=2, before=before)
    same_as_before = int(np.argmin(joined[: len(before)] == before))
    same_as_alone = N - int(np.argmin((joined == alone)[::-1]))
    assert len(before) // 2 <= same_as_before < same_as_alone <= same_as_before + 128 + 1
    assert same_as_alone <= len(before) - 16  # the end of `before` was its warm-up: it is not heard
    steps = [np.abs(np.diff(x)).max() for x in (joined, alone, before)]
    assert steps[0] <= 1.2 * max(steps[1:])
    too_short_to_join = part.wavenet(level_db, "piano", N, seed=2, before=before[:100])
    np.testing.assert_array_equal(too_short_to_join, alone)


def test_forwards_goes_on_from_what_was_made():
    part = vocoder()
    level_db = np.random.default_rng(0).normal(-30, 10, (20, 21)).astype(np.float32)
    whole = part.wavenet(level_db, "guitar", 20 * HOP, seed=1)
    again = part.wavenet(level_db, "guitar", 20 * HOP, seed=1, before=whole[: 9 * HOP])
    np.testing.assert_allclose(again[: 9 * HOP], whole[: 9 * HOP], atol=0.02)  # the codec's own error
    assert again.shape == whole.shape and not np.array_equal(again, whole)


def test_a_long_transfer_backwards(tmp_path):
    """Chunk by chunk, joined in the overlap: as long as the input, without steps, the same every time."""
    system = catalogue.load("cyclegan", write_models(tmp_path, reverse=True), "wavenet")
    assert system.vocoder.renderer.codec.reverse
    x = melody(3.3)
    y, again = (
        streaming.transfer(system, x, RATE, "guitar", seed=1, chunking=Chunking(1.0, 0.5, 0.02))
        for _ in range(2)
    )
    assert y.shape == x.shape and np.isfinite(y).all()
    np.testing.assert_array_equal(again, y)
    steps = np.abs(np.diff(y))
    for cut in (RATE, 2 * RATE):
        around = steps[cut - 8000 : cut + 8000]
        assert around.max() <= 1.5 * np.sort(steps)[-200]
        assert 0.3 < around.std() / steps.std() < 3


# ---------------------------------------------------------------- beams


@pytest.mark.parametrize("representation", ["cqt", "mel"])
@pytest.mark.parametrize("step", [1000, 4096])
def test_every_cell_is_counted_once(representation, step):
    """Silence against a target that is 1 dB above the floor everywhere: the cost is the number of cells."""
    frames = 40
    target = np.full((FEATURES.bins(representation), frames + 1), TOP_DB - 59.0)
    cost = LevelCost(
        FEATURES, representation, target, TOP_DB, lambda codes: np.zeros(codes.shape, np.float32)
    )
    N = frames * HOP + 100
    codes = np.zeros((2, N), np.int64)
    parts = [cost(codes[:, : min(a + step, N)], a, a + step >= N) for a in range(0, N, step)]
    np.testing.assert_allclose(np.sum(parts, 0), target.size, rtol=1e-6)
    assert parts[0][0] < target.size / 2


@pytest.mark.parametrize("representation", ["cqt", "mel"])
def test_cost_is_near_zero_for_the_audio_itself(representation):
    """In pieces, with the audio's own levels as target: far below that of the same audio at another pitch."""
    t = np.arange(60 * HOP) / RATE
    codec = Codec(0.85, 1.6)
    own, other = (sum(0.2 * np.sin(2 * np.pi * f * h * t) / h for h in (1, 2, 3)) for f in (440, 494))
    codes = codec.encode(np.stack([own, other]).astype(np.float32))
    cost = LevelCost(FEATURES, representation, levels(own, representation), TOP_DB, codec.decode)
    total = sum(
        cost(codes[:, : a + 1024], a, False)
        for a in range(0, 50 * 1024 // 4 * 4, 1024)
        if a + 1024 <= codes.shape[1]
    )
    assert total[0] < 0.25 * total[1]


def test_beams_of_the_vocoder():
    """One is plain sampling; the seed fixes many; levels come nearer in expectation."""
    part = vocoder()
    rng = np.random.default_rng(0)
    target = levels(0.1 * rng.standard_normal(20 * HOP) * (np.arange(20 * HOP) // 2000 % 2))
    N = 20 * HOP

    def distance(x: np.ndarray) -> float:
        return float(np.square(levels(x).clip(-60, 0) - target.clip(-60, 0)).mean())

    plain = [part.wavenet(target, "piano", N, seed=s) for s in range(4)]
    np.testing.assert_array_equal(part.wavenet(target, "piano", N, seed=0, beams=1, beam_step=300), plain[0])
    beamed = [part.wavenet(target, "piano", N, seed=s, beams=8, beam_step=512) for s in range(4)]
    np.testing.assert_array_equal(part.wavenet(target, "piano", N, seed=0, beams=8, beam_step=512), beamed[0])
    assert np.mean([distance(x) for x in beamed]) < np.mean([distance(x) for x in plain])


def test_beams_work_backwards_too():
    part = vocoder(reverse=True)
    x = part.wavenet(
        np.full((20, 11), -20.0, np.float32), "piano", 10 * HOP + 3, seed=0, beams=3, beam_step=700
    )
    assert x.shape == (10 * HOP + 3,) and np.isfinite(x).all()


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Data:
    """Two instruments of 24 s each: tones with rests of digital silence, more than half of the time."""
    folder = tmp_path_factory.mktemp("data")
    t = np.arange(24 * RATE) / RATE
    with AudioWriter(folder / "audio", RATE, 0.1, 100) as writer:
        for domain, pitch in (("piano", 220), ("guitar", 330)):
            x = 0.3 * np.sin(2 * np.pi * pitch * t) * (t % 2 < 0.9)
            writer.add((x * 32767).astype(np.int16), domain, "train", "a")
    audio = PackedAudio(folder / "audio")
    statistics = {}
    with FeatureWriter(folder / "features", FEATURES.to_dict(), 100) as writer:
        for excerpt in audio.index:
            level_db = levels(audio.read(excerpt)).T
            writer.add(excerpt, {"mel": level_db.astype(np.float16)})
            statistics[excerpt.domain] = level_db.clip(TOP_DB - 60, TOP_DB)
        means, deviations = ({d: f(x, 0).tolist() for d, x in statistics.items()} for f in (np.mean, np.std))
        writer.set_statistics({"mel": {"top_db": TOP_DB, "mean_db": means, "std_db": deviations}})
    return Data(folder / "audio", folder / "features")


def settings(**changes) -> Params:
    return vocoder_params(wavenet={"steps": 4, "batch_size": 4, "crop_frames": 4} | changes).wavenet


def fit(data: Data, p: Params):
    return wavenet_train.fit(data, p, "mel", Run(0, make_fabric("cpu")), {})


def weights(made: WaveNetVocoder) -> dict[str, torch.Tensor]:
    return made.network.state_dict()


@pytest.mark.parametrize(
    ("changes", "sampling"),
    [
        ({}, {}),
        ({"input": "scalar", "output": "mol", "mixtures": 3}, {}),
        ({"reverse": True, "upsampling": "transposed"}, {"beams": 2, "beam_step": 500}),
        ({"context_layers": 2, "context_channels": 4, "upsampling": "nearest", "ema_decay": 0.9}, {}),
    ],
)
def test_every_option_is_trained_and_heard(data, tmp_path, changes, sampling):
    p = settings(**changes)
    trained, curves = fit(data, p)
    trained.save(tmp_path)
    how = Rendering(wavenet=Sampling(**sampling))
    made, again = (WaveNetVocoder.load(tmp_path, {}, rendering) for rendering in (how, Rendering()))
    x = made.wavenet(np.full((20, 9), -20.0, np.float32), "guitar", 8 * HOP, seed=0)
    assert x.shape == (8 * HOP,) and np.isfinite(x).all() and x.std() > 0
    plain = again.wavenet(np.full((20, 9), -20.0, np.float32), "guitar", 8 * HOP, seed=0)
    assert np.array_equal(x, plain) == (not sampling), "how it is used is no part of what is trained"
    audio = data.audio.read(data.audio.index[0], 0, 16 * HOP)
    spectrum_db = levels(audio)[:, :17]
    assert 0 < made.nll_bits(audio, spectrum_db, "piano", spectrum_db) < 12
    assert ("wavenet/nll_bits_16" in curves[-1]) == (p.output == "mol")
    assert 0 < curves[-1]["wavenet/nll_bits"] < 12
    once_more, _ = fit(data, p)
    pairs = zip(weights(trained).values(), weights(once_more).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_average_of_the_weights_is_what_is_kept(data):
    plain, averaged = (weights(fit(data, settings(ema_decay=decay))[0]) for decay in (0, 0.99))
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    one = weights(fit(data, settings(steps=1))[0])
    name = "gate_weight"  # the average lies between the first and the last weights
    assert (averaged[name] - one[name]).norm() < (plain[name] - one[name]).norm()


def test_silent_crops_are_drawn_again(data):
    crops = AudioFeatureCrops(data.audio, data.features, ["mel"], ["piano", "guitar"], "train", 4, 16, 0, 40)
    silent = [
        [float(x.square().mean()) < 1e-8 for x in wavenet_train.audible_batch(crops, step, -200)["audio"]]
        for step in range(4)
    ]
    assert 0.2 < np.mean(silent) < 0.8
    for step in range(4):
        as_drawn, chosen = crops.batch(step), wavenet_train.audible_batch(crops, step, -60)
        assert all(
            torch.equal(a, b)
            for a, b in zip(
                as_drawn.values(), wavenet_train.audible_batch(crops, step, -200).values(), strict=True
            )
        )
        assert (chosen["audio"].square().mean(-1) > 1e-6).all()
        kept = ~torch.tensor(silent[step])
        assert torch.equal(chosen["audio"][kept], as_drawn["audio"][kept])
        for x, level_db, domain in zip(chosen["audio"], chosen["mel"], chosen["domain"], strict=True):
            assert level_db.max() > -30  # audio, levels and instrument are of one crop
            period = np.abs(np.fft.rfft(x.numpy())).argmax() * RATE / len(x)
            assert abs(period - (220, 330)[domain]) < 40
    # Nothing is that loud: training goes on with what there is.
    everything_silent = wavenet_train.audible_batch(crops, 0, 0)
    assert everything_silent["audio"].shape == as_drawn["audio"].shape


@pytest.mark.parametrize("layers", [5, 12, 20])
@pytest.mark.parametrize(("kernel", "context"), [(2, 0), (3, 0), (2, 5), (3, 7)])
def test_crops_shorter_than_the_receptive_field_are_refused(layers, kernel, context):
    sizes = {"layers": layers, "layers_per_stack": 8, "kernel": kernel, "context_layers": context}
    field = WaveNetConfig(84, HOP, 2, **sizes).receptive_field()
    enough = -(-field // HOP)

    def values(crop_frames: int) -> dict:
        section = sizes | {"crop_frames": crop_frames}
        return smoke(vocoders=dict(STARTS_FROM), vocoder={"wavenet": section})

    assert params.parse(values(enough)).vocoder.wavenet.crop_frames == enough
    if enough > 1:
        said = rf"vocoder.wavenet.crop_frames: .*receptive field of {field}, .*: use {enough} or more"
        with pytest.raises(RetimbreError, match=said):
            params.parse(values(enough - 1))


def test_a_mixture_needs_scalar_input():
    with pytest.raises(RetimbreError, match="vocoder.wavenet.output mol needs vocoder.wavenet.input scalar"):
        params.parse(smoke(vocoder={"wavenet": {"output": "mol"}}))
