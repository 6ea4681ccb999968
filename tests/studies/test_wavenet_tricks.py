"""The table of TimbreTron's two tricks, on networks of a few steps."""

from pathlib import Path

import numpy as np
import pytest

from retimbre.audio.features import spectrum_of
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import AudioWriter, FeatureWriter
from retimbre.errors import RetimbreError
from retimbre.training.devices import make_fabric
from retimbre.training.fit import Run
from retimbre.vocoders.wavenet.params import Params
from studies import wavenet_tricks
from tests.toys.models import FEATURES, RATE
from tests.toys.project import smoke


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder, statistics = tmp_path_factory.mktemp("data"), {}
    t = np.arange(3 * RATE) / RATE
    with AudioWriter(folder / "audio", RATE, 0.1, 100) as writer:
        for domain, pitch in (("piano", 220), ("guitar", 330)):
            for split, performance in (("train", ""), ("validation", "1"), ("validation", "2")):
                x = 0.3 * np.sin(2 * np.pi * pitch * t) * np.exp(-4 * (t % 0.5))
                writer.add((x * 32767).astype(np.int16), domain, split, "a", performance)
    found = Data(folder / "audio", folder / "features")
    with FeatureWriter(folder / "features", FEATURES.to_dict(), 100) as writer:
        for excerpt in found.audio.index:
            spectrum_db = spectrum_of(found.audio.read(excerpt), FEATURES, "cqt").T
            writer.add(excerpt, {"cqt": spectrum_db.astype(np.float16)})
            statistics[excerpt.domain] = spectrum_db.clip(-60, 0)
        means, deviations = ({d: f(x, 0).tolist() for d, x in statistics.items()} for f in (np.mean, np.std))
        writer.set_statistics({"cqt": {"top_db": 0.0, "mean_db": means, "std_db": deviations}})
    return found


def test_a_row_for_every_network_and_width(data: Data) -> None:
    p = Params.model_validate(smoke()["vocoder"]["wavenet"] | {"steps": 3})
    vocoders = wavenet_tricks.train_tricks(data, p, "cqt", Run(0, make_fabric("cpu")))
    assert [vocoder.codec.reverse for vocoder in vocoders.values()] == [False, True]
    rows = wavenet_tricks.trick_rows(vocoders, data, "validation", ((1, 500), (4, 500)), seconds=0.4)
    expected = [(n, b) for n in ("forwards", "backwards") for b in (1, 4)]
    assert [(row["network"], row["beams"]) for row in rows] == expected
    for row in rows:
        assert all(np.isfinite(value) for name, value in row.items() if name not in ("network", "onset_f1"))
        assert 0 < row["nll_bits"] < 9
    # Of the network, not of the beams.
    assert rows[0]["nll_bits"] == rows[1]["nll_bits"] != rows[2]["nll_bits"]
    assert rows[0]["feature_lsd"] != rows[1]["feature_lsd"]
    said = "^the test split has no paired pieces .*: set dataset.source to soundfont"
    with pytest.raises(RetimbreError, match=said):
        wavenet_tricks.trick_rows(vocoders, data, "test")


def test_the_command_needs_the_data_of_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RetimbreError, match="params.yaml does not exist"):
        wavenet_tricks.main()
