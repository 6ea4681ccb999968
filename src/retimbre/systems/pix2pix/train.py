"""Training of pix2pix: both directions at once, on pieces that the two instruments play sample-aligned."""

from torch import Tensor

from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.systems.cyclegan.step import AdversarialTrainer
from retimbre.systems.cyclegan.system import Change
from retimbre.systems.cyclegan.train import prepare, train
from retimbre.systems.pix2pix.params import Params
from retimbre.training.fit import History, Run
from retimbre.training.processes import check_batch


class Pix2PixTrainer(AdversarialTrainer):
    """L1 to the true target; discriminators that see the source too, and no pool, since an older example has
    another source. Crops ``a`` and ``b`` of a step are the same places of two performances of the same
    notes.
    """

    conditional = True

    def lambdas(self, step: int) -> dict[str, float]:
        return super().lambdas(step) | {"loss/l1": self.p.lambda_l1}

    def generator_losses(
        self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor, lambdas: dict[str, float]
    ) -> dict[str, Tensor]:
        return {"loss/l1": (fake_b - b).abs().mean() + (fake_a - a).abs().mean()}


class PairedCrops:
    """Crops of both domains at the same places of the same performances: two ``FeatureCrops`` of one stream
    of random numbers draw the same places when their excerpts are the same in the same order, which is
    checked.

    Raises RetimbreError when the training splits are not paired.
    """

    def __init__(self, features: PackedFeatures, p: Params, seed: int, part: tuple[int, int] = (0, 1)):
        domains = features.domains[:2]
        size = (p.crop_frames, p.batch_size, seed, 0, part, f"{p.section}.crop_frames")
        self.crops = [FeatureCrops(features, p.representation, d, "train", *size) for d in domains]
        excerpts = (c.positions.excerpts for c in self.crops)
        first, second = ([(e.piece, e.performance, e.length) for e in of] for of in excerpts)
        if first != second or not all(performance for _, performance, _ in first):
            raise RetimbreError(
                f"the training pieces of {domains[0]} and {domains[1]} are not the same performances: "
                "set dataset.paired_training to true and run `dvc repro`."
            )

    def batch(self, number: int) -> list[Tensor]:
        """Batch ``number``, or this process's share of it: spectra (B, F, T) of both domains in dB."""
        return [c.batch(number) for c in self.crops]


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """As the CycleGAN's, on pairs. Raises RetimbreError when the training split has none."""
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    crops = PairedCrops(data.features, p, run.seed, (run.fabric.global_rank, run.fabric.world_size))
    trainer, change = prepare(Pix2PixTrainer, data.features, p, run)
    return change, train("pix2pix", trainer, change, crops.batch, data.features, p, run)
