"""Training: of the classifier alone."""

from torch import nn

from retimbre.classifiers.batches import Augmentation, DomainBatches
from retimbre.classifiers.train import fit_classifier
from retimbre.datasets.packed.data import Data
from retimbre.systems.image_fooling.params import Params
from retimbre.systems.image_fooling.system import Change
from retimbre.training.fit import History, Run


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """Train a classifier of all domains; returns the change and the history."""
    features, config = data.features, Change.description(data.features, p)
    batches = DomainBatches(
        features, p.representation, features.domains, p.window_frames, p.batch_size, run.seed
    )
    scale, changed = (config["top_db"], features.config.range_db), Augmentation(p.gain_jitter_db, p.noise_db)
    network, history = fit_classifier("instrument", batches, p, *scale, p.steps, changed, run)
    return Change(nn.ModuleDict({"classifier": network}), config), history
