"""Section ``image_fooling``."""

from typing import ClassVar

from retimbre.classifiers.params import Classifier
from retimbre.section import Count, NonNegative, Positive, SystemSection


class Params(SystemSection, Classifier):
    """The knobs of the classifier and of the ascent."""

    section: ClassVar[str] = "image_fooling"

    iterations: Count
    rate_db: Positive
    content: NonNegative
