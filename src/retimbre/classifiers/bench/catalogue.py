"""The rows of the comparison: name, family, and how a classifier is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from retimbre.classifiers.bench import convnets, descriptors, dissertation, pipeline, raw_audio, scattering
from retimbre.classifiers.bench.base import Classifier, NetworkClassifier, Recipe
from retimbre.classifiers.bench.descriptors import Pipelined
from retimbre.errors import RetimbreError
from retimbre.training.fit import Run


@dataclass(frozen=True)
class Row:
    """A classifier; exactly one of ``recipe`` (a network) and ``pipeline`` (front, kind) is given."""

    family: str
    says: str
    recipe: Recipe | None = None
    pipeline: tuple[Callable, str] | None = None


def _rows() -> dict[str, Row]:
    rows = {}
    kinds = {"logistic": "logistic regression", "svc": "support vectors", "knn": "five nearest neighbours",
             "forest": "random forest of 10 trees"}  # fmt: skip
    for kind, says in kinds.items():
        said = f"MFCC and shapes, {says}"
        rows[f"features_{kind}"] = Row("features", said, pipeline=(descriptors.descriptors, kind))
    for name, branches in {
        "2d": ("2d",), "1d": ("1d",), "spiral": ("spiral",), "spiral_1d": ("spiral", "1d"),
        "spiral_2d": ("spiral", "2d"), "1d_2d": ("1d", "2d"), "all": ("2d", "1d", "spiral"),
    }.items():  # fmt: skip
        said = f"ConvNet on the CQT: {' & '.join(branches)}"
        rows[f"convnet_{name}"] = Row("ConvNets", said, recipe=convnets.recipe(*branches))
    rows["convnet_2d_48"] = Row(
        "ConvNets", "ConvNet on the CQT: 2d, 48 kernels", recipe=convnets.recipe("2d", kernels=48)
    )
    fronts = {
        "time": (scattering.in_time, "1-d"), "joint": (scattering.in_time_and_frequency, "2-d"),
        "spiral": (scattering.on_the_spiral, "spiral"),
    }  # fmt: skip
    for name, (front, said) in fronts.items():
        for kind, says in {"logistic": "linear", "svc": "support vectors"}.items():
            ending = "" if kind == "logistic" else "_svc"
            text = f"{said} scattering, {says}"
            rows[f"scattering_{name}{ending}"] = Row("scattering", text, pipeline=(front, kind))
    for length, stride in raw_audio.PUBLISHED:
        said = f"raw audio, frames of {length} every {stride}"
        rows[f"raw_{length}_{stride}"] = Row("raw audio", said, recipe=raw_audio.raw(length, stride))
    rows["raw_foote"] = Row("raw audio", "raw audio, Foote's 200 every 200", recipe=raw_audio.foote())
    for length, stride in (raw_audio.PUBLISHED[0], raw_audio.PUBLISHED[-1]):
        said = f"log-mel twin, frames of {max(length, 1024)} every {stride}"
        rows[f"mel_{length}_{stride}"] = Row("raw audio", said, recipe=raw_audio.mel(length, stride))
    losses = {"squares": "least squares", "entropy": "cross-entropy"}
    for loss, says in losses.items():
        objective = dissertation.OBJECTIVES[loss]
        ending = "" if loss == "squares" else "_entropy"
        for name, said, recipe in (
            ("shallow", "shallow, 32", dissertation.shallow(objective)),
            ("timbral_4x2", "timbral, 4 x 2", dissertation.timbral(4, 2, objective)),
            ("timbral_64x1", "timbral, 64 x 1", dissertation.timbral(64, 1, objective)),
            ("conv1d", "conv1d, 1024", dissertation.course(objective)),
        ):
            rows[f"{name}{ending}"] = Row("dissertation", f"{said}, {says}", recipe=recipe)
    said = "evaluation's instrument classifier: three strided convolutions of constant-Q levels"
    rows["pipeline"] = Row("this pipeline", said, recipe=pipeline.RECIPE)
    return rows


ROWS = _rows()


def row(name: str) -> Row:
    """The row of a name. Raises RetimbreError that lists the known ones."""
    if name not in ROWS:
        raise RetimbreError(f"no classifier is called {name!r}: use one of {', '.join(ROWS)}.")
    return ROWS[name]


def make(
    name: str, outputs: int, seed: int = 0, steps: int | None = None, run: Run | None = None
) -> Classifier:
    """An untrained classifier. ``steps``: of a network's training, in the place of the row's own."""
    found = row(name)
    if found.pipeline:
        return Pipelined(*found.pipeline, outputs, seed)
    recipe = found.recipe if steps is None else replace(found.recipe, steps=steps)
    return NetworkClassifier(recipe, outputs, seed, run)
