import numpy as np
import pytest
import torch

from retimbre.nn.generation import beam
from retimbre.nn.generation.beam import beam_search
from retimbre.nn.generation.sampler import State, forced_logits, generate
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig, shift_right

HOP, N = 16, 480


@pytest.fixture(scope="module")
def model() -> WaveNet:
    torch.manual_seed(1)
    network = WaveNet(
        WaveNetConfig(
            6,
            HOP,
            2,
            layers=4,
            layers_per_stack=4,
            residual_channels=8,
            skip_channels=8,
            conditioning_channels=8,
        )
    )
    with torch.no_grad():
        network.head_output.weight.mul_(4)
    return network.eval()


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return torch.randn(6, N // HOP + 1, generator=torch.Generator().manual_seed(0))


def loudness(target: int):
    """A cost: squared distance of the mean code of every piece from a target."""

    def cost(codes: np.ndarray, start: int, ended: bool) -> np.ndarray:
        return (codes[:, start:].mean(1) - target) ** 2 * (codes.shape[1] - start)

    return cost


def distance(codes: np.ndarray, target: int, step: int) -> float:
    return sum(
        float(loudness(target)(codes[None, : start + step], start, False)[0])
        for start in range(0, len(codes), step)
    )


@pytest.mark.parametrize("given", [0, 70])
def test_one_beam_is_plain_sampling(model, features, given):
    state = State(model, 1, 5)
    made = np.arange(given) % 256
    if given:
        forced_logits(model, features[None], 1, made[None], state=state)
    plain = generate(model, features[None], 1, N - given, 0.9, state=state)[0]

    def never(*_):
        raise AssertionError("one beam needs no cost")

    drawn = beam_search(model, features, 1, N, never, 1, 100, 0.9, seed=5, made=made if given else None)
    np.testing.assert_array_equal(drawn[:given], made)
    np.testing.assert_array_equal(drawn[given:], plain)


def test_more_beams_come_nearer(model, features):
    """In expectation and in nearly every draw: by what they are chosen by."""
    target, step = 90, 40
    mean = {
        beams: np.array(
            [
                distance(
                    beam_search(model, features, 0, N, loudness(target), beams, step, seed=s), target, step
                )
                for s in range(8)
            ]
        )
        for beams in (1, 4, 16)
    }
    assert mean[4].mean() < 0.8 * mean[1].mean()
    assert mean[16].mean() < 0.9 * mean[4].mean()
    assert (mean[16] <= mean[1]).all()


def test_the_seed_fixes_it(model, features):
    draws = [beam_search(model, features, 0, N, loudness(90), 4, 40, seed=seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_survivors_carry_their_own_state(model, features, monkeypatch):
    """Draws follow the network's own distribution given the kept past: states belong to their codes.

    Every draw, looked up in the parallel forward of the codes returned, has the probability that it was
    drawn with.
    """
    kept = []
    honest = beam.generate

    def watched(network, repeated, domain, length, temperature, state):
        position, before = state.position, state.take(np.arange(state.streams))
        drawn = honest(network, repeated, domain, length, temperature, state=state)
        kept.append((position, drawn, forced_logits(network, repeated, domain, drawn, state=before)))
        return drawn

    monkeypatch.setattr(beam, "generate", watched)
    codes = beam_search(model, features, 0, N, loudness(90), 6, 40, seed=0)
    with torch.no_grad():
        reference = model(shift_right(torch.from_numpy(codes)[None]), features[None], torch.tensor([0]))[
            0
        ].numpy()
    for position, drawn, logits in kept:
        stop = position + drawn.shape[1]
        mine = [b for b in range(6) if (drawn[b] == codes[position:stop]).all()]
        assert mine, f"the beam returned was not drawn at {position}"
        assert min(np.abs(logits[b] - reference[position:stop]).max() for b in mine) < 1e-4


def test_the_cost_sees_every_sample_once(model, features):
    seen = []

    def cost(codes: np.ndarray, start: int, ended: bool) -> np.ndarray:
        seen.append((codes.shape, start, ended))
        return np.zeros(len(codes))

    beam_search(model, features, 0, 100, cost, 3, 30, seed=0, made=np.full(20, 128))
    assert seen == [((3, 50), 20, False), ((3, 80), 50, False), ((3, 100), 80, True)]
