"""Every generator gives long recordings without seams, however far it sees and whatever grid it works on."""

import numpy as np
import pytest
import torch

from retimbre.systems import catalogue, streaming
from retimbre.systems.streaming import Chunking
from tests.toys.models import RATE, melody, write_cyclegan, write_models


@pytest.mark.parametrize(("kind", "blocks"), [("resnet1d", 4), ("resnet2d", 3), ("unet", 5), ("yoon2019", 2)])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_chunks_of_any_size_give_the_same_samples(tmp_path, kind, blocks, upsampling):
    write_models(tmp_path)
    torch.manual_seed(1)
    write_cyclegan(tmp_path, 0.3, kind=kind, channels=2, blocks=blocks, upsampling=upsampling)
    x, system = melody(9.7), catalogue.load("cyclegan", tmp_path, "source_phase")
    whole = streaming.transfer(system, x, RATE, "guitar", chunking=Chunking(body_s=100))
    for body, context in ((1.3, 2.0), (2.9, 0.1)):  # no multiples of the grid, nor enough for all of them
        chunked = streaming.transfer(system, x, RATE, "guitar", chunking=Chunking(body, context))
        assert np.abs(chunked - whole).max() < 1e-4
