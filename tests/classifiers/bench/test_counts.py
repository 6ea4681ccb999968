"""The sizes that papers and code of the published networks give."""

import pytest
import torch

from retimbre.classifiers.bench.catalogue import ROWS
from retimbre.classifiers.bench.convnets import ConvNet
from retimbre.classifiers.bench.dissertation import Course, Shallow, Timbral
from retimbre.classifiers.bench.raw_audio import PUBLISHED, TagNet


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("branches", "kernels", "expected"),
    [
        (("2d",), 32, 92_584),
        (("2d",), 48, 157_784),
        (("1d",), 32, 19_720),
        (("spiral",), 32, 35_944),
        (("spiral", "1d"), 32, 55_080),
        (("spiral", "2d"), 32, 127_944),
        (("1d", "2d"), 32, 111_720),
        (("2d", "1d", "spiral"), 32, 147_080),
    ],
)
def test_convnets_are_as_large_as_published(branches, kernels, expected):
    """Lostanlen and Cella 2016 at 8 classes and 96 x 128: 93, 158, 20, 36, 55, 128, 111 and 147 thousand."""
    assert count(ConvNet(branches, 8, kernels, 96, 128)) == expected


def test_foote_and_dieleman():
    assert count(TagNet(50, (200, 200), 48_000, padded=True)) == 119_902
    # 187 frames of 256 samples become 45 and then 9, as in the paper
    body = TagNet(50, (256, 256), 48_000).body
    x, lengths = torch.zeros(1, 1, 48_000), []
    for layer in body[:-1]:
        x = layer(x)
        lengths.append(x.shape[-1])
    assert [lengths[0], lengths[4], lengths[7]] == [187, 45, 9]
    assert PUBLISHED[0] == (1024, 1024) and len(PUBLISHED) == 5


def test_the_dissertations_classifiers():
    assert count(Shallow(1, 32)) == 693_217
    assert Shallow(1, 32)(torch.zeros(1, 880, 32)).shape == (1, 1, 54, 1)
    assert Timbral(1, 4, 2, 880)(torch.zeros(1, 880, 26)).shape == (1, 1, 1, 1)  # of all bins, 26 frames
    assert Timbral(1, 4, 1, 84)(torch.zeros(1, 84, 32)).shape[:3] == (1, 1, 1)
    assert Course(1, 16, 4, 880)(torch.zeros(1, 880, 31)).shape == (1, 1, 1)  # four layers see 31 frames


def test_every_row_can_be_made():
    for name, row in ROWS.items():
        assert (row.recipe is None) != (row.pipeline is None), name
