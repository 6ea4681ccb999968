import math

import numpy as np
import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.nn.wavenet import mixture
from retimbre.nn.wavenet.network import WaveNetConfig
from retimbre.vocoders.excited.generation import State, expected, generate, padded
from retimbre.vocoders.excited.network import (
    FUTURE,
    MARGIN,
    ExcitedWaveNet,
    code_bits,
    mean,
    previous,
    residual_bits,
)

SMALL = {
    "feature_bins": 6,
    "hop_length": 16,
    "n_domains": 2,
    "layers": 5,
    "layers_per_stack": 3,
    "residual_channels": 8,
}
SMALL |= {"skip_channels": 12, "conditioning_channels": 10, "input": "scalar", "output": "mol", "mixtures": 2}
N = 120


def small(kernel: int = 2, **changes) -> ExcitedWaveNet:
    torch.manual_seed(0)
    model = ExcitedWaveNet(WaveNetConfig(**{**SMALL, "kernel": kernel, **changes})).eval()
    with torch.no_grad():
        model.head_output.weight.normal_(0, 0.3)  # untrained, the expected residual is zero
    return model


def signals(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Residuals (1, N), excitation (1, N + 2 MARGIN), features (1, F, T), domain (1,)."""
    generator = torch.Generator().manual_seed(seed)
    excitation = 0.1 * torch.randn(1, N + 2 * MARGIN, generator=generator)
    return (
        0.02 * torch.randn(1, N, generator=generator),
        excitation,
        torch.randn(1, 6, N // 16 + 1, generator=generator),
        torch.tensor([1]),
    )


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_sample_moves_no_output_up_to_its_own(kernel):
    model = small(kernel)
    residuals, excitation, features, domain = signals()
    moved = residuals.clone()
    moved[0, 40] += 0.1
    with torch.no_grad():
        a, b = (model(previous(r), excitation, features, domain) for r in (residuals, moved))
    difference = (a - b).abs().amax(-1)[0]
    assert difference[:41].max() == 0
    assert difference[41] > 0
    assert difference[41 + model.config.receptive_field() :].max() == 0


def test_the_excitation_is_heard_ahead_but_no_further_than_the_margin():
    model = small()
    residuals, excitation, features, domain = signals()
    moved = excitation.clone()
    where = 100
    moved[0, MARGIN + where] += 0.5
    with torch.no_grad():
        a, b = (model(previous(residuals), e, features, domain) for e in (excitation, moved))
    difference = (a - b).abs().amax(-1)[0]
    assert difference[where - FUTURE : where].min() > 0  # it is not causal in the excitation
    last = excitation.clone()
    last[0, -1] += (
        0.5  # the last sample that is given acts on the level of the last window, so none may be missing
    )
    with torch.no_grad():
        difference = (a - model(previous(residuals), last, features, domain)).abs().amax(-1)[0]
    assert difference[-1] > 0
    assert difference[:-1].max() == 0


def test_a_piece_cut_out_gives_the_same_outputs():
    model = small()
    residuals, excitation, features, domain = signals()
    start = 48
    with torch.no_grad():
        whole = model(previous(residuals), excitation, features, domain)
        cut = model(previous(residuals)[:, start:], excitation[:, start:], features, domain, start)
    assert torch.allclose(
        cut[:, model.config.receptive_field() :],
        whole[:, start + model.config.receptive_field() :],
        atol=1e-6,
    )


def test_untrained_it_expects_the_excitation_itself():
    torch.manual_seed(0)
    model = ExcitedWaveNet(WaveNetConfig(**SMALL))
    residuals, excitation, features, domain = signals()
    assert mean(model(previous(residuals), excitation, features, domain)).abs().max() == 0


def drawn_from(
    parameters: np.ndarray, temperature: float, uniforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (N,) by the closed form in float64, and which of them no rounding of uniforms moves far."""
    weights, means, log_scales = np.split(parameters.astype(np.float64), 3, -1)
    p = np.exp(weights) / np.exp(weights).sum(-1, keepdims=True)
    upto = np.cumsum(p, -1)
    k = (upto[:, :-1] <= uniforms[:, None]).sum(-1)
    of_k = np.arange(len(k)), k
    u = (uniforms - upto[of_k] + p[of_k]) / p[of_k]
    expected = (p * means).sum(-1)
    value = means[of_k] + np.exp(log_scales[of_k]) * np.log(u / (1 - u))
    return expected + temperature * (value - expected), np.minimum(u, 1 - u) > 1e-3


@pytest.mark.parametrize("told", ["own", "forced"])
@pytest.mark.parametrize("temperature", [0, 0.3, 1.0])
@pytest.mark.parametrize("kernel", [2, 3])
def test_sample_by_sample_equals_the_forward(kernel, temperature, told):
    """Every residual is what the forward's mixture gives to its uniform, given all that was heard."""
    model = small(kernel)
    given, excitation, features, domain = signals()
    excitation = excitation[:, MARGIN:-MARGIN].numpy()[0]
    uniforms = np.random.default_rng(2).random(N)
    forced = given[0].numpy() if told == "forced" else None
    made = generate(model, features[0], 1, excitation, temperature, uniforms=uniforms, forced=forced)
    heard = given if told == "forced" else temperature * torch.from_numpy(made)[None]
    with torch.no_grad():
        parameters = model(previous(heard), padded(excitation), features, domain)[0].numpy()
    right, certain = drawn_from(parameters, temperature, uniforms)
    assert certain.mean() > 0.95 and np.abs(right).max() > 1e-3
    assert np.abs(made - right)[certain].max() < 1e-5


@pytest.mark.parametrize("temperature", [0, 0.3, 1.0])
def test_chunks_give_the_same_samples(temperature):
    model = small()
    _, excitation, features, _ = signals()
    excitation = excitation[:, MARGIN:-MARGIN].numpy()[0]
    uniforms = np.random.default_rng(2).random(N)
    whole = generate(model, features[0], 1, excitation, temperature, uniforms=uniforms)
    state, parts = State(model), []
    for start, stop in ((0, 7), (7, 57), (57, N)):
        part = {"length": stop - start, "uniforms": uniforms[start:stop], "state": state}
        parts.append(generate(model, features[0], 1, excitation, temperature, **part))
    assert np.abs(whole).max() > 1e-3
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-5


def test_temperature_0_is_computed_side_by_side(monkeypatch):
    model = small()
    _, excitation, features, _ = signals()
    excitation = excitation[:, MARGIN:-MARGIN].numpy()[0]
    one_by_one = generate(model, features[0], 1, excitation, 0)
    monkeypatch.setattr("retimbre.vocoders.excited.generation.BLOCK_FRAMES", 3)  # several blocks are joined
    assert np.abs(expected(model, features[0], 1, excitation) - one_by_one).max() < 1e-6


def test_draws_follow_the_mixture():
    model = small(layers=1)
    with torch.no_grad():
        model.head_output.weight.zero_()  # the same mixture everywhere, relative to the level
        model.head_output.bias.copy_(torch.tensor([0.0, 1.0, -2.0, 3.0, -1.5, -0.5]))
    length = 4000
    excitation = np.full(length, 0.1, np.float32)
    features = torch.zeros(6, length // 16 + 1)
    drawn = generate(model, features, 0, excitation, 1.0, seed=3)[MARGIN:-MARGIN]
    of_all = model(torch.zeros(1, length), padded(excitation), features[None], torch.tensor([0]))
    parameters = of_all[0, length // 2].detach()
    weights, means, log_scales = mixture.split(parameters)
    variance = float(
        (weights.exp() * (means**2 + (math.pi * log_scales.exp()) ** 2 / 3)).sum()
        - (weights.exp() * means).sum() ** 2
    )
    error = math.sqrt(variance / len(drawn))
    assert abs(drawn.mean() - float(mean(parameters[None])[0])) < 4 * error
    assert drawn.std() == pytest.approx(math.sqrt(variance), rel=0.1)
    half = generate(model, features, 0, excitation, 0.5, seed=3)[MARGIN:-MARGIN]
    # This network does not listen, so the draws are the same.
    assert half.std() == pytest.approx(0.5 * drawn.std(), rel=1e-3)


def test_code_bits_add_up_to_one_whatever_the_excitation():
    model = small()
    residuals, excitation, features, domain = signals()
    near = excitation[:, MARGIN:-MARGIN]
    with torch.no_grad():
        parameters = model(previous(residuals), excitation, features, domain)[:, :4]
    # A value in every cell but the first.
    every = torch.from_numpy(np.stack([mixture.mu_law_edges()[1:-1].numpy() + 1e-6] * 4, 1))
    every = torch.cat([torch.full((1, 4), -1.0), every])
    mass = torch.stack([2 ** -code_bits(parameters, values[None], near[:, :4])[0] for values in every])
    assert torch.allclose(mass.sum(0), torch.ones(4), atol=1e-4)


def tones(
    rng: np.random.Generator, batch: int, length: int, semitones: float = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tones (B, length), and excitations (B, length + 2 MARGIN): with noise, ``semitones`` up."""
    t = np.arange(-MARGIN, length + MARGIN)
    frequency, phase = rng.uniform(0.02, 0.1, (batch, 1)), rng.uniform(0, 2 * np.pi, (batch, 1))

    def tone(shift: float) -> np.ndarray:
        return sum(
            0.1 / k * np.sin(2 * np.pi * k * frequency * 2 ** (shift / 12) * t + k * phase) for k in (1, 2, 3)
        )

    noise = 0.01 * rng.standard_normal((batch, len(t)))
    target, excitation = tone(0)[:, MARGIN:-MARGIN], tone(semitones) + noise
    return torch.from_numpy(target).float(), torch.from_numpy(excitation).float()


def fitted(silent: bool) -> ExcitedWaveNet:
    torch.manual_seed(0)
    model = ExcitedWaveNet(WaveNetConfig(**SMALL))
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    features, domain = torch.zeros(4, 6, 17), torch.zeros(4, dtype=torch.int64)
    for step in range(60):
        target, excitation = tones(np.random.default_rng([5, step]), 4, 256)
        excitation = excitation * (not silent)
        residuals = target - excitation[:, MARGIN:-MARGIN]
        loss = residual_bits(model(previous(residuals), excitation, features, domain), residuals).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def bits(model: ExcitedWaveNet, semitones: float, silent: bool = False) -> float:
    target, excitation = tones(np.random.default_rng(99), 4, 256, semitones)
    excitation = excitation * (not silent)
    near = excitation[:, MARGIN:-MARGIN]
    parameters = model(
        previous(target - near), excitation, torch.zeros(4, 6, 17), torch.zeros(4, dtype=torch.int64)
    )
    return float(code_bits(parameters, target, near)[:, 32:].mean())


def test_an_excitation_in_phase_is_worth_bits_and_its_pitch_is_heard():
    model = fitted(silent=False)
    right = bits(model, 0)
    assert right < bits(fitted(silent=True), 0, silent=True) - 1  # the same network with nothing to hear
    assert bits(model, 1) > right + 1  # a semitone up


def test_what_cannot_work_is_said():
    with pytest.raises(RetimbreError, match="output mol"):
        ExcitedWaveNet(WaveNetConfig(**{**SMALL, "output": "softmax"}))
    model = small()
    residuals, excitation, features, domain = signals()
    with pytest.raises(RetimbreError, match=f"need an excitation of {N + 2 * MARGIN}"):
        model(previous(residuals), excitation[:, 1:], features, domain)
    for arguments, message in (
        ({"temperature": -0.1}, "temperature of the sampling must be at least 0"),
        ({"length": N + 1}, "has none from 0"),
    ):
        with pytest.raises(RetimbreError, match=message):
            generate(model, features[0], 0, np.zeros(N, np.float32), **arguments)
