"""The inverse-STFT vocoder's network: shapes, phases, context, gradients, a few steps of training."""

import copy

import auraloss
import numpy as np
import pytest
import torch

from retimbre.audio.spectral import spsi_phase, stft
from retimbre.training.devices import make_fabric
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.istft.discriminators import MultiResolution, feature_matching
from retimbre.vocoders.istft.network import IstftConfig, IstftNet, analytic_phase
from retimbre.vocoders.istft.train import IstftTrainer, multi_resolution_loss
from tests.toys.vocoders import vocoder_params

RATE, HOP, BINS = 16000, 256, 24


def network(n_fft=1024, projections=2, trained=True):
    torch.manual_seed(0)
    net = IstftNet(IstftConfig(BINS, HOP, n_fft, channels=16, blocks=1, projections=projections)).eval()
    if trained:  # as training would: corrections that are not zero
        torch.nn.init.normal_(net.phase.weight, 0, 0.05)
    return net


def levels(frames, batch=1, seed=0):
    return torch.randn(batch, BINS, frames, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


@pytest.mark.parametrize(("n_fft", "length"), [(1024, 8000), (2048, 8192), (512, 100), (511, 2560)])
def test_audio_of_any_length(n_fft, length):
    with torch.no_grad():
        y = network(n_fft)(levels(length // HOP + 1, 2), length)
    assert (
        y.shape == (2, length)
        and y.dtype == torch.float32
        and bool(y.isfinite().all())
        and float(y.std()) > 0
    )


def test_a_held_tone_keeps_its_pitch():
    """The phase advances by the tone's frequency, a multiple of the hop's rate or not."""
    net = network(trained=False)
    for hz in (437.5, 445.0):
        t = torch.arange(RATE) / RATE
        true = stft(torch.cos(2 * torch.pi * hz * t)[None], 1024, HOP).abs()
        held = true[..., 30:31].expand(-1, -1, true.shape[-1])
        y = net.audio(20 * held.clamp(min=1e-5).log10(), torch.zeros_like(held), RATE)[0, 2000:-2000].detach()
        spectrum = np.abs(np.fft.rfft(y.numpy() * np.hanning(len(y)), 1 << 17))
        assert np.argmax(spectrum) * RATE / (1 << 17) == pytest.approx(hz, abs=1.0)
        envelope = stft(y[None], 1024, HOP).abs().amax(1)[0, 4:-4]
        assert float(envelope.min() / envelope.max()) > 0.9  # no beating


@torch.no_grad()
def test_phases_that_are_known_are_kept_and_continued():
    """A tone whose first half was made already goes on in phase with it; without that half it does not."""
    t = torch.arange(40 * HOP) / RATE
    tone = 0.3 * torch.cos(2 * torch.pi * 445 * t + 2.5)[None]
    X = stft(tone, 1024, HOP)
    spectrum = 20 * X.abs().clamp(min=1e-5).log10(), torch.zeros(X.shape)
    net = network()
    for known, alike in ((torch.angle(X[..., :20]), True), (None, False)):
        y = net.audio(*spectrum, 40 * HOP, known)[0, 24 * HOP : 36 * HOP]
        true = tone[0, 24 * HOP : 36 * HOP]
        assert (float((y * true).sum() / (y.norm() * true.norm())) > 0.97) == alike
    wanted = torch.rand(1, 513, 41)
    assert torch.equal(
        analytic_phase(wanted, 1024, HOP), torch.from_numpy(spsi_phase(wanted[0].numpy(), 1024, HOP))[None]
    )


def test_what_lies_far_away_changes_nothing():
    """About a second of context on both sides is enough: chunks of a long recording agree inside."""
    net = network()
    z = levels(101)
    whole, part = net.spectrum(z), net.spectrum(z[..., 20:80])
    for a, b in zip(whole, part, strict=True):
        assert torch.allclose(a[..., 30:70], b[..., 10:50], atol=1e-4)


@pytest.mark.parametrize("n_fft", [512, 1024, 2048])
def test_starts_at_the_inverters_levels(n_fft):
    """The same levels, however long the head's window is: a tone's peak is as high at the same frequency."""
    torch.manual_seed(2)
    inverter = SpectralInverter(InverterConfig(BINS, 1024, 16, 1))
    net = network(n_fft)
    net.start_at(inverter)
    z = levels(21)
    with torch.no_grad():
        mine, theirs = net.spectrum(z)[0], inverter(z)
    mine = mine - 20 * np.log10(n_fft / 1024)
    shared = (
        (mine[:, ::2], theirs)
        if n_fft == 2048
        else (mine, theirs[:, ::2])
        if n_fft == 512
        else (mine, theirs)
    )
    assert torch.allclose(*shared, atol=1e-3)


def test_gradients_reach_levels_and_corrections():
    net = network()
    y = net(levels(41), 40 * HOP)
    losses = multi_resolution_loss(y, torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    sum(losses.values()).backward()
    assert all(
        p.grad is not None and bool(p.grad.isfinite().all()) and float(p.grad.abs().sum()) > 0
        for p in net.parameters()
    )


def test_the_loss_is_auralosss():
    x, y = (torch.randn(2, 16384, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    ours = multi_resolution_loss(y, x)
    theirs = [
        auraloss.freq.STFTLoss(
            n, n // 4, n, w_sc=w, w_log_mag=1 - w, w_lin_mag=0, window="hann_window", eps=1e-12
        )
        for w in (1.0, 0.0)
        for n in (512, 1024, 2048)
    ]
    values = [float(loss(y[:, None], x[:, None])) for loss in theirs]
    assert float(ours["log_magnitude"]) == pytest.approx(np.mean(values[3:]), rel=0.03)  # its padding mirrors
    assert float(ours["convergence"]) == pytest.approx(np.mean(values[:3]), rel=0.03)
    assert float(sum(multi_resolution_loss(x, x).values())) == 0


def tone_batch(step, frames=40, count=4):
    """Tones of random pitch whose levels are a bump at that pitch: (levels in dB, audio)."""
    rng = np.random.default_rng(step)
    pitch = rng.integers(0, BINS, count)
    t = np.arange(frames * HOP) / RATE
    audio = np.stack(
        [0.3 * np.sin(2 * np.pi * 220 * 2 ** (p / 12) * t + rng.uniform(0, 6)) for p in pitch]
    ).astype(np.float32)
    level_db = (
        -10
        - 12 * np.abs(np.arange(BINS)[None, :, None] - pitch[:, None, None])
        + np.zeros((1, 1, frames + 1))
    )
    return torch.from_numpy(level_db.astype(np.float32)), torch.from_numpy(audio)


def trainer(magnitude_share=0.0, adversarial=False):
    torch.manual_seed(1)
    net = IstftNet(IstftConfig(BINS, HOP, 1024, channels=32, blocks=1, projections=1))
    p = vocoder_params(istft={"steps": 200, "learning_rate": 2e-3, "adversarial": adversarial}).istft
    return IstftTrainer(net, p, make_fabric("cpu"), 0.0, 60.0, RATE, 1, magnitude_share)


def test_learns_tones():
    made = trainer(magnitude_share=0.7)
    values = [made.step(*tone_batch(step), step) for step in range(200)]
    assert {*values[139]} == {"istft/l1_db"} and {*values[140]} == {
        f"istft/{name}" for name in ("convergence", "log_magnitude", "band_lsd_db")
    }
    assert float(values[139]["istft/l1_db"]) < 0.2 * float(values[0]["istft/l1_db"])
    first, last = ([float(v["istft/log_magnitude"]) for v in part] for part in (values[140:145], values[-5:]))
    assert np.mean(last) < 0.75 * np.mean(first)


def test_discriminators_learn_and_are_resumed():
    """The adversarial form: a trainer that is continued from its state goes on with the same weights."""
    one = trainer(adversarial=True)
    for step in range(3):
        told = one.step(*tone_batch(step), step)
        assert {"istft/adversarial", "istft/matching", "istft/discriminators"} <= set(told)
        assert all(bool(value.isfinite()) for value in told.values())
    other = trainer(adversarial=True)
    before = [p.clone() for p in other.nets["discriminators"].parameters()]
    state = copy.deepcopy(one.state_dict())
    other.load_state_dict(state)
    assert any(
        not torch.equal(a, b) for a, b in zip(before, one.nets["discriminators"].parameters(), strict=True)
    ), "they learnt"
    one.step(*tone_batch(3), 3), other.step(*tone_batch(3), 3)
    for a, b in zip(one.nets.parameters(), other.nets.parameters(), strict=True):
        assert torch.equal(a, b)


def test_discriminators_tell_noise_from_tones():
    torch.manual_seed(0)
    discriminators = MultiResolution(channels=4)
    optimiser = torch.optim.Adam(discriminators.parameters(), 3e-3)
    for step in range(30):
        _, tones = tone_batch(step, frames=12, count=2)
        noise = torch.randn(tones.shape, generator=torch.Generator().manual_seed(step)) * 0.2
        pairs = zip(discriminators(tones)[0], discriminators(noise)[0], strict=True)
        loss = sum(torch.relu(1 - r).mean() + torch.relu(1 + f).mean() for r, f in pairs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 3.0  # of 6 at chance
    (scores, features), (_, same) = discriminators(tones), discriminators(tones)
    assert len(scores) == 3 and feature_matching(features, same).item() == 0
    assert feature_matching(discriminators(noise)[1], features).item() > 0.1
