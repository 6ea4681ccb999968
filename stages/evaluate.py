"""Transfer the test set in both directions, score every system beside the control rows, report."""

import json
from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.audio.features import FeatureExtractor
from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.errors import run
from retimbre.evaluation import scoring, suite, table
from retimbre.evaluation.gallery import examples_of, write_gallery
from retimbre.evaluation.judges import Judges
from retimbre.evaluation.testset import load_items
from retimbre.systems.controls import EqualiserControl
from retimbre.systems.cyclegan import CycleGan
from retimbre.systems.vocoder import Vocoder
from retimbre.training.devices import set_threads
from retimbre.training.stage import write_metrics

AUDIO, FEATURES, MODELS = Path("data/resampled"), Path("data/features"), Path("data/models")
OUT, METRICS = Path("data/evaluation"), Path("metrics")


def main() -> None:
    # All sections: the report and MLflow show the whole file, so a change of any of it makes them anew.
    p = params.load("seed", "dataset", "audio", "features", "classifier", "model", "vocoder", "evaluate")
    set_threads()
    audio, features = PackedAudio(AUDIO), PackedFeatures(FEATURES)
    generator, vocoder, judges = CycleGan.load(MODELS / "cyclegan"), Vocoder.load(MODELS / "vocoder"), Judges.load(MODELS / "classifier")
    extractor = FeatureExtractor(features.config)
    equalisers = {name: EqualiserControl.fit(features, generator.representation, name == "eq_affine") for name in ("eq_match", "eq_affine")}
    rows = suite.systems(generator, vocoder, extractor, equalisers, p.evaluate.route)
    items = load_items(audio, features, generator.representation, generator.domains)
    scorer = scoring.Scorer(judges, extractor, generator.representation, generator.top_db)
    results = suite.run(items, rows, scorer, p.evaluate.wavenet_items)

    scores = table.add_skill(table.make_table(scoring.records(results) + scoring.failures(results, scorer)))
    table.write_table(OUT / "per_item.parquet", scores)
    metrics = table.summarise(scores)
    write_metrics(METRICS / "evaluation.json", metrics)
    examples = examples_of(results, p.evaluate.audio_examples, scorer)
    values = {"seed": p.seed, **{name: section.model_dump() for name, section in vars(p).items() if name != "seed"}}
    shown = write_gallery(OUT, METRICS / "plots", scores, metrics, examples, values, p.seed, p.evaluate.bootstrap)

    everything = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(METRICS.glob("*.json"))}
    firsts = list({example.direction: example for example in reversed(examples)}.values())  # the first of each direction
    clips = [OUT / "audio" / f"{e.direction}.{e.item}.{row}.wav" for e in firsts for row in ("source", "cyclegan", "target")]
    tracking.log_to_parent(values, everything, [*shown, *(clip for clip in clips if clip.exists())])


if __name__ == "__main__":
    run(main)
