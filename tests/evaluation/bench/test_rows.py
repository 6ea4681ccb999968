"""The rows of the table: which kinds of vocoder are heard, on how many pieces, and what each row's outputs
depend on.
"""

import numpy as np
import pytest
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.evaluation.bench.rows import CopySynthesis, all_rows
from retimbre.evaluation.bench.testset import Clip, Item
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.systems.controls import EqualiserControl
from retimbre.vocoders.catalogue import Vocoder
from retimbre.vocoders.inverter.network import InverterConfig, SpectralInverter
from retimbre.vocoders.istft.network import IstftConfig, IstftNet

RATE = 16000
CONFIG = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 80, 60.0)
KINDS = ["source_phase", "griffin_lim", "istft", "wavenet"]


def vocoder(kind="source_phase", kinds=KINDS, change=None):
    """Untrained parts; ``change``: the part whose weights are other ones."""
    torch.manual_seed(0)
    networks = {
        "inverter": SpectralInverter(InverterConfig(84, 1024, 8, 1)),
        "istft": IstftNet(IstftConfig(84, 256, 1024, 8, 1, 1)),
        "wavenet": WaveNet(
            WaveNetConfig(
                feature_bins=84,
                hop_length=256,
                n_domains=2,
                layers=2,
                layers_per_stack=2,
                residual_channels=8,
                skip_channels=8,
            )
        ),
    }
    if change:
        with torch.no_grad():
            next(networks[change].parameters()).add_(1.0)
    config = {
        "domains": ["reed", "bell"],
        "features": CONFIG.to_dict(),
        "representation": "cqt",
        "top_db": 7.0,
        "rms": 0.1,
    }
    config |= {
        "griffin_lim_iterations": 1,
        "wavenet_preemphasis": 0.85,
        "wavenet_gain": 1.6,
        "wavenet_temperature": 0.7,
    }
    sizes = {name: network.config.to_dict() for name, network in networks.items()}
    return Vocoder(networks, config | sizes | {"kind": kind, "kinds": kinds})


class Raise:
    """A generator of levels that makes everything 3 dB louder."""

    representation, config = "cqt", {}

    def transfer(self, level_db, target):
        return level_db + 3


Raise.__module__ = (
    EqualiserControl.__module__
)  # whose source its fingerprint covers: a test is no module of the package


def rows_of(model):
    return {row.name: row for row in all_rows(Raise(), model, {"eq_match": Raise()}, {}, RATE)}


def test_every_kind_is_heard_of_the_cyclegan_and_of_the_true_levels():
    rows = rows_of(vocoder())
    assert list(rows) == [
        *("copy", "eq_match", "oracle", "unrelated"),
        *("vocoder_source_phase", "vocoder_griffin_lim", "vocoder_istft", "vocoder_wavenet"),
        *("cyclegan", "cyclegan_griffin_lim", "cyclegan_istft", "cyclegan_wavenet"),
    ]
    assert {name for name, row in rows.items() if row.slow} == {
        f"{a}_{b}" for a in ("vocoder", "cyclegan") for b in ("istft", "wavenet")
    }
    assert {name: row.vocoder for name, row in rows.items() if row.vocoder}["cyclegan"] == "source_phase"
    assert rows["eq_match"].vocoder == "source_phase"


@pytest.mark.parametrize(("kind", "slow"), [("istft", False), ("wavenet", True)])
def test_the_default_kind_makes_the_rows_without_a_kind(kind, slow):
    rows = rows_of(vocoder(kind))
    assert rows["cyclegan"].vocoder == rows["eq_match"].vocoder == kind and rows["cyclegan"].slow == slow
    assert rows[f"vocoder_{kind}"].slow == slow and not rows["vocoder_griffin_lim"].slow
    assert f"cyclegan_{kind}" not in rows and "cyclegan_source_phase" in rows and f"vocoder_{kind}" in rows


def test_only_what_is_trained_is_heard():
    rows = rows_of(vocoder("griffin_lim", ["griffin_lim", "istft"]))
    assert {"cyclegan", "cyclegan_istft", "vocoder_griffin_lim", "vocoder_istft"} <= set(rows)
    assert not any("wavenet" in name or "source_phase" in name for name in rows)


@pytest.mark.parametrize(
    ("part", "touched"),
    [
        ("wavenet", {"vocoder_wavenet", "cyclegan_wavenet"}),
        ("istft", {"vocoder_istft", "cyclegan_istft"}),
        (
            "inverter",
            {"eq_match", "cyclegan"}
            | {f"{a}_{k}" for a in ("vocoder", "cyclegan") for k in ("griffin_lim", "istft")},
        ),
    ],
)
def test_a_row_is_made_anew_when_a_part_that_it_needs_changed(part, touched):
    before, after = (rows_of(vocoder(change=change)) for change in (None, part))
    changed = {name for name in before if before[name].fingerprint() != after[name].fingerprint()}
    assert changed - {"vocoder_source_phase"} == touched
    assert ("vocoder_source_phase" in changed) == (part == "inverter")
    other = rows_of(vocoder("griffin_lim"))
    same = [name for name in before if name.startswith("vocoder_")]
    assert all(before[name].fingerprint() == other[name].fingerprint() for name in same), (
        "the default is no property of a kind"
    )


def test_rows_render():
    rng = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    audio = (0.2 * np.sin(2 * np.pi * 330 * t) * np.exp(-3 * (t % 0.5))).astype(np.float32)
    clip = Clip(audio, rng.normal(-40, 10, (84, 63)).astype(np.float32))
    item = Item("tune", "reed", "bell", "mono", clip, clip, None, clip)
    for name, row in rows_of(vocoder()).items():
        if not row.system.applies(item):
            assert name == "oracle"
            continue
        sound = row.render(item, 1, CONFIG)
        assert sound.audio.shape == audio.shape and np.isfinite(sound.audio).all(), name
        assert (sound.level_db is None) == isinstance(row.system, CopySynthesis), name
