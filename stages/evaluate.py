"""Transfer the test set in both directions, score every system beside the control rows, report."""

import json
from functools import partial
from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.audio.features import FeatureExtractor
from retimbre.classifiers.forest import SecondOpinion
from retimbre.classifiers.panel import Judges
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.errors import run
from retimbre.evaluation.bench import calibration, probes, scoring, suite
from retimbre.evaluation.bench.cache import Cache
from retimbre.evaluation.bench.outputs import file_name, write_outputs
from retimbre.evaluation.bench.ranges import Ranges, with_ranges
from retimbre.evaluation.bench.rows import all_rows
from retimbre.evaluation.bench.testset import load_items
from retimbre.evaluation.report.gallery import write_gallery
from retimbre.evaluation.results import table
from retimbre.metrics.notes import NoteTranscriber
from retimbre.systems.baselines.catalogue import fit_baselines
from retimbre.systems.controls import EqualiserControl
from retimbre.systems.cyclegan.system import CycleGan
from retimbre.training.devices import set_threads
from retimbre.training.stage import write_metrics
from retimbre.vocoders.catalogue import Vocoder

RAW, AUDIO, FEATURES, MODELS = Path("data/raw"), Path("data/resampled"), Path("data/features"), Path("data/models")
OUT, METRICS = Path("data/evaluation"), Path("metrics")


def main() -> None:
    # All sections: the report and MLflow show the whole file, so a change of any of it makes them anew.
    p = params.load("seed", "dataset", "audio", "features", "classifier", "model", "vocoder", "evaluate", "baselines")
    set_threads()
    audio, features = PackedAudio(AUDIO), PackedFeatures(FEATURES)
    generator, vocoder, judges = CycleGan.load(MODELS / "cyclegan"), Vocoder.load(MODELS / "vocoder"), Judges.load(MODELS / "classifier")
    extractor, cache, rate = FeatureExtractor(features.config), Cache.of_project(p.evaluate.cache_mb), features.config.sample_rate
    equalisers = {name: EqualiserControl.fit(features, generator.representation, name == "eq_affine") for name in ("eq_match", "eq_affine")}
    baselines = fit_baselines(audio, features, p.baselines, p.seed)
    rows = all_rows(generator, vocoder, equalisers, baselines, rate)
    items = load_items(audio, features, generator.representation, generator.domains)
    items = with_ranges(items, Ranges(RAW, audio, NoteTranscriber, cache))
    opinion = SecondOpinion.fit(features, generator.domains, judges.window_frames, p.seed)
    make_scorer = partial(scoring.Scorer, judges, extractor, generator.representation, generator.top_db, opinion)
    results = suite.run(items, rows, make_scorer, cache, p.seed, p.evaluate.slow_items, p.evaluate.jobs)
    write_outputs(OUT, results, rate)

    scorer, real = make_scorer(), scoring.fit_real(features, judges, generator.domains, p.seed)
    probe = partial(probes.records, generator, vocoder, extractor, items, p.dataset, p.seed)
    probed = cache.once("probes", suite.probe_key(generator, vocoder, items, p.dataset, p.seed), probe)
    records = table.annotate(
        scoring.records(results) + scoring.failures(results, scorer) + suite.set_values(results, real, cache) + probed,
        {row.name: row.vocoder for row in rows},
        {(item.direction, item.piece): item.range for item in items},
    )
    scores = table.add_skill(table.make_table(records))
    table.write_table(OUT / "per_item.parquet", scores)
    write_metrics(OUT / "speed.json", table.speeds(scores))
    write_metrics(OUT / "versions.json", suite.identity(items, make_scorer))
    calibrated, metrics = calibration.calibrate(scores), table.summarise(scores)
    write_metrics(METRICS / "evaluation.json", {"calibration": calibrated.to_metrics(), **metrics})
    values = {"seed": p.seed, **{name: section.model_dump() for name, section in vars(p).items() if name != "seed"}}
    shown = write_gallery(OUT, METRICS / "plots", scores, metrics, results, scorer, features, values, calibrated)
    cache.trim()

    everything = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(METRICS.glob("*.json"))}
    firsts = list({item.direction: item for item in reversed(items)}.values())  # the first of each direction
    clips = [OUT / "audio" / file_name(item, row) for item in firsts for row in ("source", "cyclegan", "target")]
    tracking.log_to_parent(values, everything, [*shown, *(clip for clip in clips if clip.exists())])
    calibrated.require(f"{METRICS / 'evaluation.json'} and {OUT / 'report.html'}; they stay until the stage runs again.")


if __name__ == "__main__":
    run(main)
