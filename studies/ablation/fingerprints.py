"""Write ``code.json``: what the code of data, training and scoring says, without comments and layout.

Cells depend on these digests instead of some seventy files: a comment makes no cell out of date, a changed loss makes
all of them (``dvc commit`` accepts results as they are).
"""

import study

from retimbre import errors
from retimbre.evaluation.bench.cache import code_of, versions

CODE = {
    "data": ("retimbre.datasets.sources.base", "retimbre.datasets.sources.soundfont", "retimbre.datasets.preparation.resampling", "retimbre.datasets.preparation.caching"),
    "training": ("retimbre.systems.cyclegan.system", "retimbre.systems.pix2pix.train", "retimbre.systems.controls", "retimbre.training.devices"),
    "scoring": (
        "retimbre.evaluation.bench.rows",
        "retimbre.classifiers.panel",
        "retimbre.evaluation.bench.testset",
        "retimbre.evaluation.results.table",
        "retimbre.vocoders.catalogue",
    ),
}


def main() -> None:
    study.write_json(study.HERE / "code.json", {**{name: code_of(*modules) for name, modules in CODE.items()}, "libraries": versions()})


if __name__ == "__main__":
    errors.run(main)
