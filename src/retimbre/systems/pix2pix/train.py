"""pix2pix on log-magnitude spectra (Isola et al. 2017): what the CycleGAN's networks reach when they are shown pairs.

Both directions are trained at once, on training pieces that the two instruments play sample-aligned; the result is a
``CycleGan``: saved, loaded, evaluated and used as one.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from retimbre.datasets.packed.crops import FeatureCrops
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.params import Model
from retimbre.systems.cyclegan.system import CycleGan, prepare, train
from retimbre.systems.pix2pix.step import Pix2PixTrainer
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.processes import check_batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without


class PairedCrops:
    """Crops of both domains at the same places of the same performances: two ``FeatureCrops`` of one stream of random
    numbers draw the same places when their excerpts are the same in the same order, which is checked.

    Raises RetimbreError when the training splits are not paired.
    """

    def __init__(self, features: PackedFeatures, p: Model, seed: int, part: tuple[int, int] = (0, 1)):
        domains = features.domains[:2]
        self.crops = [
            FeatureCrops(features, p.representation, domain, "train", p.crop_frames, p.batch_size, seed, 0, part, "model.crop_frames")
            for domain in domains
        ]
        first, second = ([(e.piece, e.performance, e.length) for e in crops.positions.excerpts] for crops in self.crops)
        if first != second or not all(performance for _, performance, _ in first):
            raise RetimbreError(
                f"the training pieces of {domains[0]} and {domains[1]} are not the same performances: set dataset.paired_training to true "
                "and run `dvc repro`, or set model.method to cyclegan."
            )

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Batch ``number``, or this process's share of it: levels (B, F, T) of both domains in dB."""
        a, b = self.crops
        return a.batch(number), b.batch(number)


def fit(
    features: PackedFeatures, p: Model, seed: int, scratch: Scratch | None, run: StageRun | None, fabric: "Fabric | None" = None
) -> tuple[CycleGan, list[dict[str, float]]]:
    """As ``cyclegan.fit``, on pairs. Raises RetimbreError when the training split has none."""
    fabric = fabric or make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    check_batch(p.batch_size, fabric, "model.batch_size")
    crops = PairedCrops(features, p, seed, (fabric.global_rank, fabric.world_size))
    trainer, model = prepare(Pix2PixTrainer, features, p, seed, fabric)
    return model, train("pix2pix", trainer, model, crops.batch, features, p, scratch, run)
