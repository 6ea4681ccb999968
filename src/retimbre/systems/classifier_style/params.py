"""Section ``classifier_style``."""

from typing import ClassVar

from retimbre.classifiers.params import Classifier
from retimbre.section import Count, NonNegative, Positive, SystemSection


class Params(SystemSection, Classifier):
    """The knobs of the classifier and of the optimisation."""

    section: ClassVar[str] = "classifier_style"

    iterations: Count
    rate_db: Positive
    content: NonNegative
    style: NonNegative
