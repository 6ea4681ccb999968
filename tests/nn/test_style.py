import numpy as np
import torch

from retimbre.nn.style import gram


def test_the_gram_matrix_is_the_mean_product_of_channels():
    y = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    expected = np.einsum("bcft,bdft->bcd", y, y) / 20
    assert np.allclose(gram(torch.from_numpy(y)), expected)
    assert np.allclose(gram(torch.from_numpy(y).flatten(2)), expected), "places in a row"
