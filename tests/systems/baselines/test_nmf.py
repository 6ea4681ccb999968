import numpy as np
import torch
from sklearn.decomposition import non_negative_factorization

from retimbre.systems.baselines import nmf as m
from retimbre.systems.baselines import params
from retimbre.systems.baselines.nmf import Nmf
from tests.toys.tones import CONFIG, RATE, tone

SETTINGS = params.Nmf(
    corpus_s=4.0, iterations=15, repetition=3, polyphony=10, continuity=3, griffin_lim_iterations=0
)


def test_repetition_keeps_only_the_strongest_nearby() -> None:
    H = torch.tensor([[1.0, 3.0, 2.0, 0.5, 0.4, 0.6]])
    assert m.restrict_repetition(H, 1, 0.0).tolist() == [[0, 3, 0, 0, 0, 0.6000000238418579]]
    assert torch.allclose(m.restrict_repetition(H, 1, 0.5)[0, 2], torch.tensor(1.0))


def test_polyphony_keeps_the_strongest_of_each_frame() -> None:
    H = torch.rand(20, 5, generator=torch.Generator().manual_seed(0))
    kept = m.restrict_polyphony(H, 4, 0.0)
    assert ((kept > 0).sum(0) == 4).all() and torch.equal(kept.max(0).values, H.max(0).values)
    assert torch.equal(m.restrict_polyphony(H, 30, 0.0), H)


def test_continuity_is_a_convolution_with_a_diagonal() -> None:
    from scipy.signal import convolve2d

    H = np.random.default_rng(0).random((12, 9)).astype(np.float32)
    expected = convolve2d(H, np.eye(7), mode="same")
    assert np.allclose(m.support_continuity(torch.from_numpy(H), 3).numpy(), expected, atol=1e-5)


def test_without_restrictions_it_is_the_known_factorisation() -> None:
    """scikit-learn's multiplicative updates for the Kullback-Leibler divergence, with fixed templates."""
    rng = np.random.default_rng(1)
    W, V = rng.random((30, 6)).astype(np.float32), rng.random((30, 8)).astype(np.float32)
    H = m.activations(
        torch.from_numpy(V), torch.from_numpy(W), 200, 0, 6, 0, torch.Generator().manual_seed(0)
    )
    theirs, _, _ = non_negative_factorization(
        V.T, n_components=6, init="custom", W=np.full((8, 6), 0.5, np.float32), H=W.T.copy(), update_H=False,
        solver="mu",
        beta_loss="kullback-leibler", max_iter=2000, tol=1e-9,
    )  # fmt: skip
    ours, best = (
        m.divergence(torch.from_numpy(V), torch.from_numpy(W) @ h)
        for h in (H, torch.from_numpy(theirs.T.astype(np.float32)))
    )
    assert ours < best * 1.001


def test_cost_falls_and_the_final_activations_are_sparse() -> None:
    generator = torch.Generator().manual_seed(0)
    W, V = torch.rand(40, 60, generator=generator), torch.rand(40, 30, generator=generator)
    cost = [
        m.divergence(V, W @ m.activations(V, W, n, 0, 60, 0, torch.Generator().manual_seed(1)))
        for n in (1, 3, 10, 30)
    ]
    assert cost == sorted(cost, reverse=True) and cost[-1] < 0.8 * cost[0]
    H = m.activations(V, W, 10, 3, 4, 0, torch.Generator().manual_seed(1))
    assert int((H > 0).sum(0).max()) <= 4
    active = H > 0
    for shift in (1, 2, 3):
        assert not (active[:, shift:] & active[:, :-shift]).any(), "no template again within r frames"


def test_the_right_notes_of_the_target_are_found() -> None:
    pitches = [220, 262, 330, 392]
    corpus = [tone(hz, 1.0, 0.5) for hz in pitches]
    system = Nmf({"reed": corpus}, CONFIG, SETTINGS)
    x = np.concatenate([tone(330, 1.0, 2.0), tone(220, 1.0, 2.0)])
    y = system.transfer(x, "reed", 1)
    assert np.array_equal(y, system.transfer(x, "reed", 1))
    for part, hz in ((y[2000:6000], 330), (y[10000:14000], 220)):
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        bins = np.arange(len(power)) * RATE / len(part)
        near = np.abs(bins - np.round(bins / hz) * hz) < 8
        assert power[near].sum() > 0.8 * power.sum(), "the energy lies on the note's partials"
        overtones = power[(bins > 1.5 * hz) & near].sum() / power[near].sum()
        assert overtones > 0.2, "and they are the bright instrument's"


def test_no_diagonal_runs_over_recordings() -> None:
    system = Nmf({"reed": [tone(220, 1.0, 0.5), tone(330, 1.0, 0.5)]}, CONFIG, SETTINGS)
    templates = system.templates("reed").abs().sum(0)
    frames = RATE // system.hop + 1
    assert (
        (templates[frames : frames + 3] == 0).all()
        and (templates[:frames] > 0).all()
        and templates[frames + 3] > 0
    )
