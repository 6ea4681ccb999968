"""Mu-law against its definition as a table, pre-emphasis against its inverse and its frequency response."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from retimbre.audio.companding import (
    deemphasis,
    mu_law_decode,
    mu_law_encode,
    pcm_decode,
    pcm_encode,
    preemphasis,
)


def test_landmarks():
    assert mu_law_encode(np.array([-1.0, 0.0, 1.0, 5.0, -np.inf, np.inf, np.nan, -0.0])).tolist() == [
        0,
        128,
        255,
        255,
        0,
        255,
        128,
        128,
    ]
    assert mu_law_encode(np.array([0, 1, -1])).tolist() == [128, 255, 0]
    decoded = mu_law_decode(np.array([0, 128, 255]))
    assert decoded[0] == -1 and decoded[2] == 1 and abs(decoded[1]) < 1e-4


def test_codes_are_the_nearest_levels_of_the_compressed_scale():
    table = np.sign(f := np.arange(256) / 127.5 - 1) * ((1 + 255.0) ** np.abs(f) - 1) / 255
    np.testing.assert_allclose(mu_law_decode(np.arange(256)), table, atol=1e-6)
    x = np.random.default_rng(0).uniform(-1, 1, 5000) ** 3
    edges = f[:-1] + 1 / 255
    thresholds = np.sign(edges) * (256.0 ** np.abs(edges) - 1) / 255
    np.testing.assert_array_equal(mu_law_encode(x), np.searchsorted(thresholds, x))


def test_every_code_survives_a_round_trip():
    codes = np.arange(256)
    assert np.array_equal(mu_law_encode(mu_law_decode(codes)), codes)
    assert torch.equal(mu_law_encode(mu_law_decode(torch.arange(256))), torch.arange(256))
    assert np.array_equal(mu_law_encode(mu_law_decode(np.arange(1024), mu=1023), mu=1023), np.arange(1024))


@pytest.mark.parametrize("amplitude, least_db", [(1.0, 37.0), (0.1, 37.0), (0.01, 33.0)])
def test_round_trip_of_a_sine(amplitude, least_db):
    x = amplitude * np.sin(2 * np.pi * 440.3 * np.arange(16000) / 16000)
    noise = mu_law_decode(mu_law_encode(x)) - x
    assert 10 * np.log10((x**2).sum() / (noise**2).sum()) >= least_db


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64]),
        st.integers(0, 50),
        elements=dict(allow_nan=True, allow_infinity=True),
    )
)
def test_no_code_is_out_of_range(x):
    codes = mu_law_encode(x)
    assert codes.dtype == np.int64 and codes.shape == x.shape
    assert ((codes >= 0) & (codes <= 255)).all()
    tensor = mu_law_encode(torch.from_numpy(x))
    assert tensor.dtype == torch.int64 and ((tensor >= 0) & (tensor <= 255)).all()
    assert np.abs(tensor.numpy() - codes).max(initial=0) <= 1  # a sample on an edge may round either way


def test_tensors_like_arrays():
    x = np.random.default_rng(0).standard_normal((3, 4000)).astype(np.float32)
    codes = mu_law_encode(x)
    assert (mu_law_encode(torch.from_numpy(x)).numpy() != codes).mean() < 1e-3
    np.testing.assert_allclose(
        mu_law_decode(torch.from_numpy(codes)).numpy(), mu_law_decode(codes), atol=1e-6
    )


@pytest.mark.parametrize("coefficient", [0.0, 0.85, 0.97])
def test_deemphasis_inverts_preemphasis(coefficient):
    x = np.random.default_rng(0).standard_normal((2, 16000))
    np.testing.assert_allclose(deemphasis(preemphasis(x, coefficient), coefficient), x, atol=1e-10)
    y = preemphasis(x.astype(np.float32), coefficient)
    assert y.dtype == np.float32
    np.testing.assert_allclose(deemphasis(y, coefficient), x, atol=1e-5)
    np.testing.assert_allclose(
        preemphasis(x, coefficient)[:, 1:], x[:, 1:] - coefficient * x[:, :-1], atol=1e-12
    )


def test_preemphasis_refuses_an_unstable_inverse():
    for coefficient in (1.0, -0.1, 2.0):
        with pytest.raises(ValueError, match="coefficient"):
            deemphasis(np.zeros(4), coefficient)


def test_pcm_codes_are_those_of_16_bit_files():
    """Against NumPy's int16: every code survives, silence is 32768, anything beyond full scale is clipped."""
    codes = np.arange(65536)
    np.testing.assert_array_equal(pcm_decode(codes), (codes - 32768).astype(np.int16) / np.float32(32768))
    np.testing.assert_array_equal(pcm_encode(pcm_decode(codes)), codes)
    np.testing.assert_array_equal(
        pcm_encode(np.array([-2.0, -1.0, np.nan, 0.0, 1.0, 2.0])), [0, 0, 32768, 32768, 65535, 65535]
    )
    x = np.random.default_rng(0).uniform(-1.2, 1.2, 1000).astype(np.float32)
    np.testing.assert_array_equal(pcm_encode(torch.from_numpy(x)).numpy(), pcm_encode(x))
    np.testing.assert_array_equal(pcm_decode(torch.from_numpy(codes)).numpy(), pcm_decode(codes))


def test_light_modules_start_without_torch():
    modules = "retimbre.audio.files, retimbre.audio.levels, retimbre.audio.companding"
    code = f"import sys; import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
