"""Every generator gives long recordings without seams, however far it sees and whatever grid it works on."""

import numpy as np
import pytest
import torch
from test_transfer import FEATURES, RATE, melody, train_nothing

from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.systems.cyclegan.system import CycleGan
from retimbre.systems.streaming import Chunking, TimbreTransfer


@pytest.mark.parametrize(("kind", "blocks"), [("resnet1d", 4), ("resnet2d", 3), ("unet", 5), ("dissertation", 2)])
@pytest.mark.parametrize("upsampling", ["nearest", "transposed"])
def test_chunks_of_any_size_give_the_same_samples(tmp_path, kind, blocks, upsampling):
    folder = train_nothing(tmp_path)
    torch.manual_seed(1)
    shape = GeneratorConfig(84, kind, 2, blocks, upsampling=upsampling)
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    for generator in generators.values():
        torch.nn.init.normal_(generator.body.out.weight, 0, 0.3)
    common = {"domains": ["piano", "guitar"], "features": FEATURES.to_dict(), "representation": "cqt", "top_db": 7.0}
    CycleGan(generators, {**common, "generator": shape.to_dict()}).save(folder / "cyclegan")
    x = melody(9.7)
    whole = TimbreTransfer.load(folder, Chunking(body_s=100))(x, RATE, "guitar")
    for body, context in ((1.3, 2.0), (2.9, 0.1)):  # neither is a multiple of the grid, nor enough for all of them
        chunked = TimbreTransfer.load(folder, Chunking(body, context))(x, RATE, "guitar")
        assert np.abs(chunked - whole).max() < 1e-5
