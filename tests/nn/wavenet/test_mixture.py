import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import kstest, logistic

from retimbre.audio.companding import mu_law_decode, mu_law_encode, pcm_decode, pcm_encode
from retimbre.nn.wavenet import mixture


def parameters(weights, means, log_scales) -> torch.Tensor:
    return torch.tensor([*weights, *means, *log_scales], dtype=torch.float32)


EXAMPLES = {
    "one": parameters([0.0], [0.1], [-4.0]),
    "two": parameters([0.5, -0.5], [-0.3, 0.4], [-3.0, -5.0]),
    "at the lower edge": parameters([0.0], [-1.0], [-6.0]),
    "beyond the upper edge": parameters([0.0], [1.4], [-3.0]),
    "sharper than a step": parameters([0.0, 0.0], [0.25, -0.5], [-20.0, -11.0]),
    "flat": parameters([0.0], [0.0], [3.0]),
}


def code_logits(parameters: torch.Tensor) -> torch.Tensor:
    """Log probabilities of the 256 mu-law codes, (..., 256), as a softmax network would give them."""
    edges = mixture.mu_law_edges()
    shape = (*parameters.shape[:-1], 256)
    return mixture.log_mass(parameters[..., None, :], edges[:-1].expand(shape), edges[1:].expand(shape))


@pytest.mark.parametrize("given_", EXAMPLES.values(), ids=EXAMPLES)
def test_masses_of_all_cells_add_up_to_one(given_):
    codes = torch.arange(65536)
    low, high = mixture.pcm_cell(codes)
    assert low[0] == -math.inf and high[-1] == math.inf
    torch.testing.assert_close(low[1:], high[:-1])  # no gap and no overlap
    mass = mixture.log_mass(given_.expand(65536, -1), low, high).double().exp()
    assert abs(mass.sum().item() - 1) < 2e-4
    assert abs(code_logits(given_).double().exp().sum().item() - 1) < 1e-5


@pytest.mark.parametrize("name", ["one", "two", "at the lower edge", "beyond the upper edge"])
def test_mass_of_a_cell_is_the_difference_of_the_cdf(name):
    """Against scipy's logistic in float64."""
    K = len(EXAMPLES[name]) // 3
    weights, means, log_scales = EXAMPLES[name].double().numpy().reshape(3, K)
    p = np.exp(weights) / np.exp(weights).sum()
    codes = torch.tensor([0, 1, 20000, 32768, 36045, 45875, 65534, 65535])
    low, high = mixture.pcm_cell(codes)
    cdf = [
        [(p * logistic.cdf(edge, means, np.exp(log_scales))).sum() for edge in edges]
        for edges in (low.double(), high.double())
    ]
    mass = mixture.log_mass(EXAMPLES[name].expand(len(codes), -1), low, high).double().exp().numpy()
    np.testing.assert_allclose(mass, np.subtract(cdf[1], cdf[0]), rtol=2e-3, atol=1e-9)


def test_far_tails_and_gradients_are_finite():
    given_ = torch.cat([EXAMPLES["sharper than a step"], EXAMPLES["two"]]).view(2, 6).requires_grad_()
    codes = torch.tensor([0, 1, 65535, 40000])
    value = mixture.log_mass(given_[:, None], *(edge.expand(2, 4) for edge in mixture.pcm_cell(codes)))
    assert torch.isfinite(value).all() and value.min() < -1000
    value.sum().backward()
    assert torch.isfinite(given_.grad).all()


def test_mu_law_cells_are_those_of_the_code():
    edges = mixture.mu_law_edges()[1:-1].double().numpy()
    np.testing.assert_array_equal(mu_law_encode(edges + 1e-6), np.arange(1, 256))
    np.testing.assert_array_equal(mu_law_encode(edges - 1e-6), np.arange(255))
    codes = pcm_encode(torch.from_numpy(mu_law_decode(np.arange(256))))
    low, high = mixture.code_cells(codes)
    values = pcm_decode(codes)
    assert ((low < values) & (values < high)).all()


def test_bits_of_codes_are_those_of_a_softmax():
    """The mass of a code's cell is what the softmax of ``code_logits`` gives to that code."""
    codes = torch.tensor([100, 30000, 32768, 50000])
    logits = code_logits(EXAMPLES["two"].expand(4, -1))
    expected = logits.gather(-1, mu_law_encode(pcm_decode(codes))[:, None])[:, 0]
    torch.testing.assert_close(
        mixture.log_mass(EXAMPLES["two"].expand(4, -1), *mixture.code_cells(codes)), expected
    )


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_mixture(temperature):
    """Against the closed form: weights to the power 1 / T, scales times T; within the grid's rounding."""
    uniforms = torch.from_numpy(np.random.default_rng(0).random(4000, dtype=np.float32))
    drawn = mixture.draw(EXAMPLES["two"].expand(4000, -1), 1 / temperature, uniforms)
    p = expit(1.0 / temperature)
    scales = temperature * np.exp([-3.0, -5.0])

    def cdf(x):
        return p * logistic.cdf(x, -0.3, scales[0]) + (1 - p) * logistic.cdf(x, 0.4, scales[1])

    assert kstest(pcm_decode(drawn).numpy(), cdf).pvalue > 0.01
    assert kstest(pcm_decode(drawn).numpy() + 0.01, cdf).pvalue < 1e-3  # the test would notice


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.05, 5))
def test_draws_are_codes_whatever_the_parameters(seed, temperature):
    random = np.random.default_rng(seed)
    given_ = torch.from_numpy(random.normal(0, 20, (64, 12)).astype(np.float32))
    uniforms = torch.from_numpy(
        np.concatenate([[0, np.nextafter(np.float32(1), 0)], random.random(62)]).astype(np.float32)
    )
    drawn = mixture.draw(given_, 1 / temperature, uniforms)
    assert drawn.min() >= 0 and drawn.max() <= 65535


def test_starts_like_the_histogram():
    counts = torch.exp(-((torch.arange(256) - 100) ** 2) / 800.0) * 1e5
    logits = code_logits(mixture.start(counts, 10))
    p = counts / counts.sum()
    entropy = -(p * p.clamp(min=1e-12).log2()).sum()
    cross = -(p * logits / math.log(2)).sum()
    assert entropy <= cross < entropy + 0.7
