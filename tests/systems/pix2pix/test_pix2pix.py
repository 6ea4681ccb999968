import numpy as np
import pytest
import torch

from retimbre.datasets.packed.format import Excerpt, FeatureWriter, PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.systems import catalogue
from retimbre.systems.pix2pix import train as pix2pix
from retimbre.systems.pix2pix.params import Params
from retimbre.systems.pix2pix.system import Change
from tests.toys.features import BINS, CONFIG, data_of, run_of
from tests.toys.project import smoke


def write_features(folder, performance: str = "1", swapped: bool = False) -> PackedFeatures:
    """Random spectra: ``echo`` plays what ``dry`` plays, darker and two frames later."""
    names = [f"piece{i:02}" for i in range(12)]
    with FeatureWriter(folder, CONFIG.to_dict(), 100) as writer:
        for domain in ("dry", "echo"):
            for split in ("train", "validation"):
                for i in range(len(names)):
                    rng = np.random.default_rng([i, split == "train"])
                    frames = 80 + 5 * i
                    z = rng.uniform(-40, -10, (frames, BINS))
                    if domain == "echo":
                        z = np.roll(z, 2, 0) - np.arange(BINS)
                    number = (len(names) - 1 - i) if swapped and domain == "echo" else i
                    mark = performance if split == "train" else "1"
                    excerpt = Excerpt(
                        f"{split}-{domain}-{i}", domain, split, names[number], mark, 0, 0, frames
                    )
                    writer.add(excerpt, {"mel": z.astype(np.float16)})
        mean = {"dry": [-25.0] * BINS, "echo": (-25.0 - np.arange(BINS)).tolist()}
        writer.set_statistics(
            {"mel": {"top_db": 0.0, "mean_db": mean, "std_db": {d: [10.0] * BINS for d in mean}}}
        )
    return PackedFeatures(folder)


def pix2pix_params(**changes) -> Params:
    values = smoke()["pix2pix"] | {
        "representation": "mel",
        "generator_channels": 32,
        "change_limit": 0,
        "discriminator": "patch",
        "batch_size": 8,
        "crop_frames": 32,
        "steps": 150,
        "learning_rate_generator": 5e-3,
    }
    return Params.model_validate(values | changes)


def fit(features: PackedFeatures):
    return pix2pix.fit(data_of(features), pix2pix_params(), run_of())


def test_crops_are_the_same_places_of_both_domains(tmp_path):
    crops = pix2pix.PairedCrops(write_features(tmp_path), pix2pix_params(), 5)
    for number in range(4):
        dry, echo = crops.batch(number)
        assert torch.allclose(echo[:, :, 2:], dry[:, :, :-2] - torch.arange(BINS)[:, None], atol=0.05)


@pytest.mark.parametrize("options", [{"performance": ""}, {"swapped": True}])
def test_data_without_pairs_are_refused_by_name(tmp_path, options):
    with pytest.raises(
        RetimbreError, match="dry and echo are not the same performances: set dataset.paired_training to true"
    ):
        fit(write_features(tmp_path, **options))


def test_what_it_learns_from_pairs_comes_back(tmp_path):
    features = write_features(tmp_path / "features")
    model, curves = fit(features)
    l1 = [row["loss/l1"] for row in curves if "loss/l1" in row]
    assert l1[-1] < 0.6 * l1[0]
    catalogue.store("pix2pix", pix2pix_params(), model, tmp_path / "models/pix2pix")
    assert catalogue.targets_of("pix2pix", tmp_path / "models") == ["dry", "echo"]
    loaded = Change.load(tmp_path / "models/pix2pix")
    x, true = (
        features.read(features.excerpts(domain=d, split="validation")[1], representation="mel")
        .astype(np.float32)
        .T
        for d in ("dry", "echo")
    )
    y = loaded.transfer(x, "echo")
    assert np.array_equal(y, model.transfer(x, "echo"))
    equalised, true = np.clip(x - np.arange(BINS)[:, None], -60, 0), np.clip(true, -60, 0)
    assert np.abs(y - true).mean() < 0.75 * np.abs(equalised - true).mean(), (
        "nearer than its start, the equaliser"
    )
