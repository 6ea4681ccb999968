"""Write ``code.json``: what the code of data, training and scoring says, without comments and layout.

Cells depend on these digests instead of some seventy files: a comment makes no cell out of date, a changed
loss makes all of them. ``run.py --accept`` takes the results as they are, such as after files moved.
"""

import study

from retimbre import errors
from retimbre.provenance import code_of, versions
from retimbre.vocoders.kinds import STARTS_FROM

CODE = {  # what is imported by name alone (systems, vocoders) is named here as well
    "data": (
        "retimbre.datasets.sources.collection",
        "retimbre.datasets.sources.soundfont",
        "retimbre.datasets.preparation.resampling",
        "retimbre.datasets.preparation.caching",
    ),
    "training": (
        "retimbre.systems.cyclegan.train",
        "retimbre.systems.pix2pix.train",
        "retimbre.systems.controls",
        "retimbre.training.stage",
    ),
    "scoring": (
        "retimbre.evaluation.bench.rows",
        "retimbre.evaluation.bench.testset",
        "retimbre.evaluation.results.table",
        "retimbre.classifiers.panel",
        "retimbre.metrics.harmony",
        "retimbre.metrics.spectral",
        *(f"retimbre.vocoders.{network}.vocoder" for network in STARTS_FROM),
    ),
}


def main() -> None:
    digests = {name: code_of(*modules) for name, modules in CODE.items()}
    study.write_json(study.HERE / "code.json", {**digests, "libraries": versions()})


if __name__ == "__main__":
    errors.run(main)
