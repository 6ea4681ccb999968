"""Training of the classifier, and the styles of the targets as it sees them."""

import torch
from torch import nn

from retimbre.classifiers.network import SpectrumClassifier
from retimbre.classifiers.train import fit_instruments
from retimbre.classifiers.windows import split_windows
from retimbre.datasets.packed.data import Data
from retimbre.datasets.packed.format import PackedFeatures
from retimbre.nn.style import gram
from retimbre.systems.classifier_style.params import Params
from retimbre.systems.classifier_style.system import Change, Styles, activations
from retimbre.training.fit import History, Run

AT_ONCE = 64  # windows


@torch.no_grad()
def styles_of(network: SpectrumClassifier, features: PackedFeatures, p: Params) -> Styles:
    """Mean Gram matrices of each domain's training windows."""
    styles = Styles(len(features.domains), network.config.channels)
    for place, domain in enumerate(features.domains):
        x = split_windows(features, p.representation, domain, "train", p.window_frames)
        for part in x.split(AT_ONCE):
            seen = activations(network, part)
            for mean, activation in zip(styles.of(place), seen, strict=True):
                mean += gram(activation).sum(0) / len(x)
    return styles


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """Train a classifier of all domains and look at their styles; returns the change and the history."""
    features, config = data.features, Change.description(data.features, p) | {"style": p.style}
    network, history = fit_instruments(features, p, run)
    networks = nn.ModuleDict({"classifier": network, "styles": styles_of(network, features, p)})
    return Change(networks, config), history
