"""The table of TimbreTron's two tricks, on networks of a few steps."""


import numpy as np
import pytest
import torch
import yaml

from retimbre import params
from retimbre.audio.features import FeatureConfig, FeatureExtractor, decibels
from retimbre.datasets.packed.format import AudioWriter, FeatureWriter, PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.evaluation import wavenet_tricks
from tests.toys import ROOT

RATE = 16000
FEATURES = FeatureConfig(RATE, 256, "retimbre", 32.7031956626, 84, 12, 1024, 20, 60.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[PackedAudio, PackedFeatures]:
    folder, extract, statistics = tmp_path_factory.mktemp("data"), FeatureExtractor(FEATURES), {}
    t = np.arange(3 * RATE) / RATE
    with AudioWriter(folder / "audio", RATE, 0.1, 100) as writer:
        for domain, pitch in (("piano", 220), ("guitar", 330)):
            for split, performance in (("train", ""), ("validation", "1"), ("validation", "2")):
                x = 0.3 * np.sin(2 * np.pi * pitch * t) * np.exp(-4 * (t % 0.5))
                writer.add((x * 32767).astype(np.int16), domain, split, "a", performance)
    audio = PackedAudio(folder / "audio")
    with FeatureWriter(folder / "features", FEATURES.to_dict(), 100) as writer:
        for excerpt in audio.index:
            level_db = decibels(extract(torch.from_numpy(audio.read(excerpt))[None], "cqt"))[0].numpy().T
            writer.add(excerpt, {"cqt": level_db.astype(np.float16)})
            statistics[excerpt.domain] = level_db.clip(-60, 0)
        means, deviations = ({d: f(x, 0).tolist() for d, x in statistics.items()} for f in (np.mean, np.std))
        writer.set_statistics({"cqt": {"top_db": 0.0, "mean_db": means, "std_db": deviations}})
    return audio, PackedFeatures(folder / "features")


def test_a_row_for_every_network_and_width(data, capsys):
    with open(ROOT / "profiles/smoke.yaml", encoding="utf-8") as file:
        values = yaml.safe_load(file)["vocoder"] | {"accelerator": "cpu", "wavenet_steps": 3, "representation": "cqt"}
    parts = wavenet_tricks.train_tricks(*data, params.Vocoder.model_validate(values), 0)
    assert [part.codec.reverse for part in parts.values()] == [False, True]
    rows = wavenet_tricks.trick_rows(parts, *data, "validation", ((1, 500), (4, 500)), seconds=0.4)
    assert [(row["network"], row["beams"]) for row in rows] == [(n, b) for n in ("forwards", "backwards") for b in (1, 4)]
    for row in rows:
        assert all(np.isfinite(value) for name, value in row.items() if name not in ("network", "onset_f1"))
        assert 0 < row["nll_bits"] < 9
    assert rows[0]["nll_bits"] == rows[1]["nll_bits"] != rows[2]["nll_bits"]  # of the network, not of the beams
    assert rows[0]["feature_lsd"] != rows[1]["feature_lsd"]
    with pytest.raises(RetimbreError, match="^the test split has no paired pieces .*: set dataset.source to soundfont"):
        wavenet_tricks.trick_rows(parts, *data, "test")
    lines = wavenet_tricks.table(rows).splitlines()
    assert len(lines) == 5 and lines[0].split()[:3] == ["network", "beams", "step"]
