"""The ``retimbre`` command. ``retimbre COMMAND --help`` explains each."""

import argparse
import json
import sys
from pathlib import Path

from pydantic import BaseModel

from retimbre import __version__, errors
from retimbre.arguments import add_folder, positive
from retimbre.metrics.catalogue import metric
from retimbre.metrics.scores import Evaluation, read_json, table
from retimbre.paths import shown
from retimbre.systems.catalogue import DEFAULTS


class Speed(BaseModel):
    """``data/speed.json``: what ``outputs`` (the digest of their table) took, seconds per second of audio."""

    outputs: str = ""
    rtf: dict[str, float] = {}


class Classifier(BaseModel):
    """``metrics/stages/classifier.json``, as far as it is shown."""

    on_recordings: dict[str, float] = {}


def on_recordings(found: dict[str, float]) -> str:
    """Rates of the classifiers on recordings (``metrics/stages/classifier.json``), to read columns by."""
    lines = []
    for kind, column in (("style", "style_target_rate"), ("hard", "style_beyond_eq")):
        names = [key for key in found if key.startswith(f"{kind}_") and key.endswith("_real")]
        said = ", ".join(f"{key[len(kind) + 1 : -len('_real')]} {found[key]:.2f}" for key in names)
        lines += [f"real test recordings have {metric(column).label}: {said}"] if said else []
    return "\n".join(lines)


def listen(folder: Path) -> list[Path]:
    """Source, the default systems' results and true target of the first example of each direction."""
    firsts: dict[str, str] = {}
    for path in sorted(folder.glob("*.source.flac")):
        firsts.setdefault(path.name.split(".")[0], path.name.removesuffix(".source.flac"))
    rows = ("source", *DEFAULTS, "target")
    found = (folder / f"{name}.{row}.flac" for name in firsts.values() for row in rows)
    return [path for path in found if path.exists()]


def speeds(evaluation: Path) -> dict[str, float]:
    """Real-time factors of the systems whose outputs lie in ``evaluation``; none of those of another run."""
    from retimbre.provenance import digest_of_files

    outputs, found = evaluation / "outputs.csv", read_json(evaluation.parent / "speed.json", Speed, None)
    return found.rtf if outputs.is_file() and digest_of_files([outputs]) == found.outputs else {}


def results(folder: Path, speed: dict[str, float]) -> str:
    """The table of a folder of metrics, and what it is to be read by; ``speed``: real-time factors."""
    metrics = read_json(folder / "evaluation.json", Evaluation, "run `dvc repro` first")
    classifier = read_json(folder / "stages" / "classifier.json", Classifier, None)
    legend = "(means over the test set, both directions; - lower is better, + higher is better)"
    lines = [table(metrics.model_extra, speed), legend, on_recordings(classifier.on_recordings)]
    return "\n".join([line for line in lines if line] + [metrics.calibration.get("verdict", "")]).rstrip()


def summary(args: argparse.Namespace) -> None:
    print(results(args.metrics, speeds(args.evaluation)))
    report = args.evaluation / "report.html"
    if report.exists():
        print(f"\nreport: {report}")
        for clip in listen(args.evaluation / "audio"):
            print(f"listen: {clip}")


def compare(args: argparse.Namespace) -> None:
    from retimbre.evaluation.results import comparison

    sides = [
        [comparison.read_run(name) for name in side.split(",") if name] for side in (args.run_a, args.run_b)
    ]
    if not all(sides):
        raise errors.RetimbreError(
            "a side of the comparison is empty: give a revision, an experiment, a folder or workspace."
        )
    found = comparison.compare_runs(*sides, args.system, args.metric, against=args.against)
    print(comparison.to_json(found) if args.json else comparison.to_text(found))


def data_inspect(args: argparse.Namespace) -> None:
    from retimbre.datasets.recordings import inspection

    found = inspection.inspect(args.raw, args.jobs)
    print(json.dumps(found.to_dict(), indent=1) if args.json else inspection.as_text(found))


def examine(args: argparse.Namespace) -> None:
    from retimbre import doctor

    errors_found = 0
    for finding in doctor.examine(args.models):
        print(shown(str(finding)), flush=True)
        errors_found += finding.state == "error"
    if errors_found:
        raise errors.RetimbreError(
            f"{errors_found} of these must be mended: see the lines that begin with error."
        )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="retimbre", description="The same music on another instrument.")
    top.add_argument("--version", action="version", version=f"retimbre {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    # Read params' types only; what a command needs is imported when it runs.
    from retimbre.app.cli import add_parser as add_app
    from retimbre.classifiers.cli import add_classify
    from retimbre.listening.cli import add_parser as add_listen
    from retimbre.synthesis.cli import add_sample
    from retimbre.systems.cli import add_export, add_transfer

    add_transfer(commands)
    add_app(commands)
    add_export(commands)
    add_classify(commands)
    add_sample(commands)
    p = commands.add_parser(
        "summary",
        help="print the table of metrics and where the report and the audio are",
        description="Print metrics/evaluation.json as a table and the paths of the report and of a few "
        "audio files.",
    )
    add_folder(p, "--metrics", Path("metrics"), "metrics of the pipeline")
    add_folder(p, "--evaluation", Path("data/evaluation"), "outputs of evaluate")
    p.set_defaults(run=summary)

    p = commands.add_parser(
        "compare",
        help="which differences between two runs are real",
        description="Compare the measured test items of two runs: means, the difference B - A with its "
        "95 % interval, a permutation test, Holm's correction over the headline metrics, and a verdict in "
        "words. A run is a Git revision, tag or branch, a DVC experiment, `workspace`, or a folder with a "
        "per_item.parquet; several trainings of one side (seeds) are separated by commas.",
    )
    help = "the run to start from, such as HEAD, main or an experiment's name"
    p.add_argument("run_a", metavar="RUN_A", help=help)
    help = "the run that is said to be better or worse, such as workspace"
    p.add_argument("run_b", metavar="RUN_B", help=help)
    help = "only this one; may be given again (default: the headline)"
    p.add_argument("--metric", action="append", default=[], metavar="NAME", help=help)
    help = "row of the table that is compared (default: the first of the default systems)"
    p.add_argument("--system", metavar="NAME", help=help)
    help = "row of RUN_B that it is compared with (default: the same); RUN_B may then be RUN_A"
    p.add_argument("--against", metavar="NAME", help=help)
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    p.set_defaults(run=compare)

    data = commands.add_parser("data", help="look at the recordings before training on them")
    p = data.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "inspect",
        help="hours, levels, pitch ranges, silence and duplicates per domain and split",
        description="Measure what `dvc repro download` gathered and warn of what would spoil a training: "
        "domains whose levels or pitch ranges hardly overlap, the same audio in two splits, silence, too "
        "little of it.",
    )
    add_folder(p, "--raw", Path("data/raw"), "recordings and their manifest")
    p.add_argument("--jobs", type=positive, default=2, help="processes (default: 2)")
    p.add_argument("--json", action="store_true", help="print JSON in place of the table")
    p.set_defaults(run=data_inspect)

    p = commands.add_parser(
        "doctor",
        help="check this machine, the packages and the project, and say what to do",
        description="Check Python, packages, disk, memory, cores, GPU, folders, data and models. Every line "
        "begins with ok, with note (it works, but there is something to know) or with error (transfer or the "
        "pipeline cannot run). The exit status is 1 where there is an error.",
    )
    add_folder(p, "--models", Path("data/models"), "trained models")
    p.set_defaults(run=examine)

    add_listen(commands)
    return top


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(sys.argv[1:] if argv is None else argv)
    errors.run(lambda: args.run(args))


if __name__ == "__main__":
    main()
