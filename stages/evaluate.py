"""Transfer the test set in both directions by every system, score it beside the controls, report."""

import json
from pathlib import Path

import stages  # noqa: F401  (puts this checkout's src first on the path)
from retimbre import params, tracking
from retimbre.errors import run
from retimbre.evaluation.bench import calibration, suite
from retimbre.evaluation.bench.bench import Bench
from retimbre.evaluation.bench.outputs import file_name, write_outputs
from retimbre.evaluation.report.gallery import write_gallery
from retimbre.evaluation.results import table
from retimbre.provenance import digest_of_files
from retimbre.systems import catalogue
from retimbre.training.devices import set_threads
from retimbre.training.stage import write_metrics

OUT, METRICS = Path("data/evaluation"), Path("metrics")
SPEED = Path("data/speed.json")  # of this machine: no output, Git and DVC do not keep it
FIGURES, VOCODERS, STAGES = METRICS / "evaluation.json", METRICS / "vocoders.json", METRICS / "stages"
# All sections: the report and MLflow show the whole file, so a change of any of it makes them anew.
SECTIONS = (
    "seed systems vocoders dataset audio features classifier resynthesis model vocoder rendering evaluate "
    "baselines"
).split()


def main() -> None:
    p = params.load("machine", *SECTIONS)
    set_threads()
    bench = Bench(p, catalogue.MODELS, Path("data/raw"))

    # Transfer and score: only what is not known from an earlier run.
    items, rows, make_scorer = bench.items(), bench.rows(), bench.make_scorer()
    results = suite.run(items, rows, make_scorer, bench.cache, p.seed, p.evaluate.slow_items, p.machine.jobs)
    write_outputs(OUT, results, bench.data.features.config.sample_rate)
    speeds = suite.speeds(results, bench.data.features.config.sample_rate)
    write_metrics(SPEED, {"outputs": digest_of_files([OUT / "outputs.csv"]), "rtf": speeds})

    # Tables.
    scores = bench.table(items, rows, results)
    table.write_table(OUT / "per_item.parquet", scores)
    write_metrics(OUT / "versions.json", suite.identity(items, make_scorer))

    # Metrics: do the controls stand in the right order, and what do the systems reach?
    calibrated, metrics = calibration.calibrate(scores), table.summarise(scores)
    write_metrics(FIGURES, {"calibration": calibrated.to_metrics(), **metrics})
    write_metrics(VOCODERS, bench.vocoder_figures())

    # Report.
    values = {name: getattr(value, "model_dump", lambda v=value: v)() for name, value in vars(p).items()}
    features, scorer = bench.data.features, make_scorer()
    plots = METRICS / "plots"
    shown = write_gallery(OUT, plots, scores, metrics, results, scorer, features, values, calibrated)

    # MLflow's view of it all.
    files = [FIGURES, VOCODERS, *sorted(STAGES.glob("*.json"))]
    everything = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    firsts = list({item.direction: item for item in reversed(items)}.values())  # the first of each direction
    heard = ("source", bench.names[0], "target")
    clips = [OUT / "audio" / file_name(item, row) for item in firsts for row in heard]
    tracking.log_to_parent(values, everything, [*shown, *(clip for clip in clips if clip.exists())])

    bench.cache.trim()
    calibrated.require(f"{FIGURES} and {OUT / 'report.html'}; they stay until the stage runs again.")


if __name__ == "__main__":
    run(main)
