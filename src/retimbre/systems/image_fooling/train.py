"""Training: of the classifier alone."""

from torch import nn

from retimbre.classifiers.train import fit_instruments
from retimbre.datasets.packed.data import Data
from retimbre.systems.image_fooling.params import Params
from retimbre.systems.image_fooling.system import Change
from retimbre.training.fit import History, Run


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """Train a classifier of all domains; returns the change and the history."""
    network, history = fit_instruments(data.features, p, run)
    return Change(nn.ModuleDict({"classifier": network}), Change.description(data.features, p)), history
