"""The WaveNet autoencoder: published sizes and fields, sampling as the forward says, local codes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.nn.wavenet.network import shift_right
from retimbre.nn.wavenet_autoencoder.autoencoder import Autoencoder, AutoencoderConfig, companded
from retimbre.nn.wavenet_autoencoder.decoder import noisy
from retimbre.nn.wavenet_autoencoder.encoder import DomainClassifier, semitones_off
from retimbre.nn.wavenet_autoencoder.generation import State

SMALL = AutoencoderConfig(
    domains=["a", "b"],
    sample_rate=4000,
    pool=16,
    code_channels=4,
    encoder_layers=4,
    encoder_layers_per_stack=2,
    encoder_channels=8,
    layers=5,
    layers_per_stack=3,
    kernel=2,
    residual_channels=12,
    skip_channels=20,
    one_decoder=False,
    relu_first=False,
)
UMTN = replace(
    SMALL, domains=list("abcdef"), sample_rate=16000, pool=800, code_channels=64, encoder_layers=30,
    encoder_layers_per_stack=10, encoder_channels=128, layers=40, layers_per_stack=10, kernel=2,
    residual_channels=128, skip_channels=128,
)  # fmt: skip
NSYNTH = replace(
    UMTN, domains=[], pool=512, code_channels=16, layers=30, kernel=3, residual_channels=512,
    skip_channels=256, one_decoder=True, relu_first=True,
)  # fmt: skip


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def model(**changes: object) -> Autoencoder:
    torch.manual_seed(0)
    network = Autoencoder(replace(SMALL, **changes))
    with torch.no_grad():
        for p in network.parameters():  # biases too are no zeros
            p.add_(0.1 * torch.randn_like(p))
    return network.eval()


@pytest.mark.parametrize(
    ("config", "encoder", "decoder", "field"),
    [
        (UMTN, 1_982_528, 4_692_992, 4_094),  # 1.98 M, 4.69 M
        (replace(UMTN, layers=56, layers_per_stack=14), 1_982_528, 6_540_288, 65_534),  # 1.98 M, 6.54 M
        (NSYNTH, 1_976_336, 59_827_712, 6_141),  # 1.98 M, 59.8 M
    ],
)
def test_sizes_and_fields_are_the_published_ones(config, encoder, decoder, field):
    with torch.device("meta"):
        network = Autoencoder(config)
        samples = torch.zeros(1, 4 * config.pool, dtype=torch.long)
        code = network.encoder(companded(samples))
        logits = next(iter(network.decoders.values()))(samples, code)
    assert code.shape == (1, 4, config.code_channels)
    assert logits.shape == (1, 4 * config.pool, 256)
    assert parameters(network.encoder) == encoder
    assert len(network.decoders) == (1 if config.one_decoder else 6)
    assert {parameters(d) for d in network.decoders.values()} == {decoder}
    assert network.encoder.receptive_field == 6_141
    assert config.decoder().receptive_field() == field


def test_the_classifier_has_the_published_size():
    assert parameters(DomainClassifier(64, 100, 6)) == 27_306  # 27 k


def test_outputs_depend_on_the_stated_field_and_on_no_later_sample():
    network, n = model(), 96
    samples = torch.randint(0, 256, (1, 160), generator=torch.Generator().manual_seed(1))
    code = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(2))

    def moved(by: torch.Tensor) -> np.ndarray:
        """Samples of which the logits are not what they were."""
        with torch.no_grad():
            before, after = (network.decoder("a")(shift_right(x), code) for x in (samples, by))
        return np.flatnonzero((before != after).any(-1)[0].numpy())

    other = samples.clone()
    other[0, n] = (other[0, n] + 100) % 256
    changed = moved(other)
    field = SMALL.decoder().receptive_field()
    assert changed[0] == n + 1 and changed[-1] == n + field


def test_codes_are_local():
    network = model()
    x = torch.rand(1, 320, generator=torch.Generator().manual_seed(1)) - 0.5
    y = x.clone()
    y[0, 165] += 0.5
    with torch.no_grad():
        before, after = network.encoder(x), network.encoder(y)
    changed = np.flatnonzero((before != after).any(-1)[0].numpy())
    reach = network.encoder.receptive_field // 2
    assert reach == 7
    assert list(changed) == [(165 - reach) // 16, 165 // 16]


@pytest.mark.parametrize("kernel", [2, 3])
def test_sampling_gives_the_logits_of_the_forward_in_chunks_too(kernel):
    network = model(kernel=kernel)
    codes = np.random.default_rng(0).integers(0, 256, 150)
    code = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(2))
    samples = torch.from_numpy(codes)[None]
    decoder = network.decoder("b")
    with torch.no_grad():
        expected = decoder(shift_right(samples), code)[0].numpy()
    state = State(decoder)
    found = [
        state.run(code[0], len(part), forced=part, with_logits=True)[1] for part in (codes[:70], codes[70:])
    ]
    assert np.abs(np.concatenate(found) - expected).max() < 1e-3
    whole, halves = State(decoder, 7), State(decoder, 7)
    drawn = whole.run(code[0], 150)[0]
    assert len(np.unique(drawn)) > 20
    np.testing.assert_array_equal(drawn, np.concatenate([halves.run(code[0], n)[0] for n in (70, 80)]))


def test_it_overfits_one_crop_and_listens_to_the_code():
    network = model(layers=3, code_channels=8, residual_channels=16, skip_channels=32)
    random = torch.Generator().manual_seed(3)
    samples = (128 + 60 * torch.randn(2, 96, generator=random)).long().clamp(0, 255)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(150):
        loss = network.loss(samples, network.encoder(companded(samples)), "a")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    bits = network.bits({"a": samples})
    assert bits["nll_bits"] < 1.5, "noise of 7 bits, learnt by heart"
    assert bits["gap_bits"] > 0.5


def test_one_decoder_is_told_the_domain():
    network = model(one_decoder=True)
    code = torch.zeros(1, 2, 4)
    told = [network.conditioning(code, d) for d in "ab"]
    assert told[0].shape == (1, 2, 6) and not torch.equal(*told)
    assert network.decoder("a") is network.decoder("b")
    with pytest.raises(RetimbreError, match="'c' is no instrument of this system: choose a, b"):
        network.decoder("c")


def test_audio_comes_back_from_its_codes():
    network, codes = model(), np.random.default_rng(0).integers(256, size=(2, 400))
    at_own_rate = network.audio(codes, SMALL.sample_rate)
    np.testing.assert_array_equal(network.samples(at_own_rate, SMALL.sample_rate), codes)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4000) / 16000).astype(np.float32)
    back = network.audio(network.samples(tone, 16000), 16000)
    assert back.shape == tone.shape and np.abs(back - tone)[200:-200].max() < 0.02


def test_noise_is_on_a_share_of_the_pasts():
    codes = torch.full((400, 50), 100)
    told = noisy(codes, 0.75, 40, torch.Generator().manual_seed(0))
    touched = (told != codes).any(1)
    assert 0.65 < touched.float().mean() < 0.8
    deviations = (told[touched] - 100).float().std(1)
    assert deviations.min() < 3 and 25 < deviations.max() < 50
    assert told.min() >= 0 and told.max() <= 255


def test_a_stretch_is_out_of_tune_by_what_was_asked():
    t = torch.arange(4000) / 4000
    x = torch.sin(2 * torch.pi * 200 * t)[None]
    y = semitones_off(x, torch.tensor([0.5]), torch.tensor([1000.0]), torch.tensor([2000.0]))[0].numpy()
    np.testing.assert_array_equal(y[:1000], x[0, :1000])
    np.testing.assert_array_equal(y[3000:], x[0, 3000:])
    crossings = np.count_nonzero(np.diff(np.sign(y[1000:3000])) > 0)
    assert crossings in (102, 103), "100 periods half a semitone higher: 102.9"
