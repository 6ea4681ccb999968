import copy

import numpy as np
import pytest
import torch

from retimbre.nn.spectral.discriminators import Discriminator
from retimbre.nn.spectral.generators import Generator, GeneratorConfig
from retimbre.systems import catalogue
from retimbre.systems.cut import train as cut
from retimbre.systems.cut.network import Encoder, at_places, draw_places, patch_nce
from retimbre.systems.cut.params import Params
from retimbre.training.devices import make_fabric
from tests.toys.features import data_of, run_of, write_features
from tests.toys.project import smoke

BINS = 16


def cut_params(**changes) -> Params:
    small = {"representation": "mel", "nce_channels": 16, "crop_frames": 24, "steps": 20}
    return Params.model_validate(smoke()["cut"] | small | changes)


def make(**changes) -> cut.CutTrainer:
    torch.manual_seed(0)
    shape = GeneratorConfig(BINS, "resnet1d", 16, 2, change_limit=0)
    generators = torch.nn.ModuleDict({n: Generator(shape) for n in ("ab", "ba")})
    discriminators = torch.nn.ModuleDict({n: Discriminator(BINS, "patch", 8) for n in ("a", "b")})
    return cut.CutTrainer(generators, discriminators, cut_params(**changes), make_fabric("cpu"), 0)


def pair(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(step)
    a, b = (torch.rand(2, BINS, 24, generator=g) * 1.6 - 0.8 for _ in range(2))
    return a, 0.5 * b


def test_the_contrastive_loss_is_the_cross_entropy_within_an_example():
    rng = np.random.default_rng(0)
    q, k = (rng.normal(size=(3, 5, 4)) for _ in range(2))
    q, k = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k))
    expected = []
    for of_q, of_k in zip(q, k, strict=True):
        likeness = of_q @ of_k.T / 0.07
        expected += [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(likeness)]
    assert float(patch_nce(*map(torch.from_numpy, (q, k)), 0.07)) == pytest.approx(np.mean(expected), 1e-5)
    same = torch.ones(2, 8, 4) / 2
    assert float(patch_nce(same, same, 0.07)) == pytest.approx(np.log(8), 1e-5), "nothing is known"


def test_keys_and_other_examples_have_no_part():
    q, k = (torch.randn(2, 5, 4, requires_grad=True) for _ in range(2))
    patch_nce(q, k, 1.0).backward()
    assert k.grad is None and q.grad is not None
    apart = torch.stack([patch_nce(q[i : i + 1], k[i : i + 1], 1.0) for i in range(2)]).mean()
    assert torch.allclose(apart, patch_nce(q, k, 1.0))


@pytest.mark.parametrize(("kind", "places"), [("resnet1d", (0, 2, 4)), ("resnet2d", (0, 4, 9))])
def test_the_encoder_is_the_generators_own(kind: str, places: tuple[int, ...]):
    torch.manual_seed(1)
    generator, found = Generator(GeneratorConfig(BINS, kind, 8, 2)), {}
    for place, stage in enumerate(generator.body.inner):
        stage.register_forward_hook(lambda _, __, y, place=place: found.setdefault(place, y))
    x = torch.rand(2, BINS, 24)
    generator(x)
    seen = Encoder(generator, 3)(x)
    assert all(torch.equal(y, found[p]) for y, p in zip(seen, places, strict=True))
    drawn = draw_places(seen, 10, torch.Generator().manual_seed(0))
    for y, few, place in zip(seen, at_places(seen, drawn), drawn, strict=True):
        assert few.shape[:2] == (2, 10) and len(set(place.tolist())) == 10
        assert torch.equal(few[1, 3], y.flatten(2)[1, :, place[3]])


def test_output_and_input_come_to_be_found_in_each_other():
    trainer = make(lambda_adversarial=0)
    rows = [trainer.step(*pair(0), step) for step in range(20)]
    for name in ("loss/nce", "loss/nce_identity"):
        losses = [float(row[name]) for row in rows]
        assert losses[-1] < 0.8 * losses[0] < 2 * np.log(24)
    first = rows[0]
    assert torch.allclose(first["loss/generator"], 0.5 * (first["loss/nce"] + first["loss/nce_identity"])), (
        "lambda_nce 1, halved together"
    )
    assert all(pool.examples == [] for pool in trainer.pools.values())


def test_fast_cut_has_no_identity():
    losses = make(nce_identity=False, lambda_nce=10).step(*pair(0), 0)
    assert "loss/nce_identity" not in losses
    assert torch.allclose(losses["loss/generator"], losses["loss/adversarial"] + 10 * losses["loss/nce"])


def test_a_training_goes_on_from_its_state_with_the_same_bits():
    whole, first, second = make(), make(), make()
    for step in range(3):
        whole.step(*pair(step), step)
        first.step(*pair(step), step)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in range(3, 6):
        whole.step(*pair(step), step)
        second.step(*pair(step), step)
    for name in ("generators", "heads", "discriminators"):
        ends = (getattr(t, name).state_dict().values() for t in (whole, second))
        assert all(torch.equal(x, y) for x, y in zip(*ends, strict=True))


def test_the_generators_of_a_training_come_back(tmp_path):
    features = write_features(tmp_path / "features")
    model, curves = cut.fit(data_of(features), cut_params(), run_of())
    assert {"loss/nce", "loss/nce_identity", "loss/adversarial"} <= set(curves[-1])
    catalogue.store("cut", cut_params(), model, tmp_path / "models/cut")
    assert catalogue.targets_of("cut", tmp_path / "models") == ["flat", "steep"]
    x = features.read(features.excerpts(domain="flat", split="validation")[0], representation="mel").T
    y = type(model).load(tmp_path / "models/cut").transfer(x, "steep")
    assert np.array_equal(y, model.transfer(x, "steep")) and not np.allclose(y, x, atol=0.1)
