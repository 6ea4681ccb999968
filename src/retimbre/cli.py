"""The ``retimbre`` command. ``retimbre COMMAND --help`` explains each."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from retimbre import __version__, errors
from retimbre.arguments import add_folder, natural, octaves, positive, share
from retimbre.metrics.catalogue import FAILURES, HEADLINE, SIGNS, metric
from retimbre.paths import shown
from retimbre.systems.catalogue import DEFAULTS
from retimbre.vocoders.params import Kind, Rendering


class Evaluation(BaseModel, extra="allow"):
    """``metrics/evaluation.json``: the calibration, and the metrics of each system."""

    calibration: dict[str, int | str] = {}
    __pydantic_extra__: dict[str, dict[str, float]]


class Speed(BaseModel):
    """``data/speed.json``: what ``outputs`` (the digest of their table) took, seconds per second of audio."""

    outputs: str = ""
    rtf: dict[str, float] = {}


class Classifier(BaseModel):
    """``metrics/stages/classifier.json``, as far as it is shown."""

    on_recordings: dict[str, float] = {}


def transfer(args: argparse.Namespace) -> None:
    if args.input.is_dir():
        raise errors.RetimbreError(f"{args.input} is a folder: give one recording.")
    if not args.to.replace("_", "").isalnum():
        raise errors.RetimbreError(
            f"{args.to!r} is not the name of an instrument: give a domain of the trained models, such as "
            "guitar."
        )
    output = args.output or args.input.with_name(f"{args.input.stem}-{args.to}.wav")
    if os.path.realpath(output) == os.path.realpath(args.input):
        raise errors.RetimbreError(f"{output} is the input itself: give another name with -o.")
    from retimbre.systems import base, catalogue, streaming

    name = args.system or catalogue.choose(args.to, args.models)
    system = catalogue.load(name, args.models, args.vocoder, rendering())
    if args.transpose != 0 or args.expression < 1:
        system = base.adjusted(system, args.transpose, args.expression)
    found, outcome = streaming.transfer_file(system, args.input, output, args.to, args.seed)
    for note in [*found.notes, *outcome.notes]:
        print(shown(f"note: {args.input}: {note}"), file=sys.stderr)
    quieter = ""
    if outcome.quieter_db > 0.5:
        quieter = f", {outcome.quieter_db:.1f} dB quieter than the input, not to clip"
    channels, rate = found.info.channels, found.info.sample_rate
    mixed = f", {channels} channels mixed down to one" if channels > 1 else ""
    print(shown(f"{output}  (by {name}, {found.duration_s:.1f} s, {rate} Hz{mixed}{quieter})"))


def rendering() -> Rendering:
    """The params' way from spectra to audio, or the default one where there is no project."""
    if not Path("params.yaml").is_file():
        return Rendering()
    from retimbre import params

    return params.load("rendering").rendering


def table(systems: dict[str, dict[str, float]], speed: dict[str, float]) -> str:
    """The headline columns of the systems' metrics as text, one row each; ``speed``: real-time factors
    (seconds of one core per second of audio), where they are known.

    Failures are shown only where some are seen; columns without a value are left out.
    """
    shown = [name for name in HEADLINE if any(name in values for values in systems.values())]
    shown += [name for name in FAILURES if any(values.get(name, 0) > 0 for values in systems.values())]
    titles = [f"{metric(name).title} {SIGNS[metric(name).better]}" for name in shown]
    rows = [["", *titles, *(["RTF -"] if speed else [])]]
    for system, values in systems.items():
        cells = [values.get(name) for name in shown] + ([speed.get(system)] if speed else [])
        rows.append([system, *("" if cell is None else f"{cell:.3g}" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line) for line in lines)


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


def read_json(path: Path, shape: Any, advice: str | None) -> Any:
    """A metrics file of a shape, whose texts and truth values are no numbers.

    ``advice``: what to do where it is not there (None: the file is optional, and empty where it is not there
    or of another shape). Raises RetimbreError: not there, no JSON, another shape.
    """
    try:
        return TypeAdapter(shape).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        if advice is not None:
            raise errors.RetimbreError(f"{path} does not exist: {advice}.") from None
    except ValidationError as error:
        no_json = error.errors()[0]["type"] == "json_invalid"  # or no UTF-8
        if no_json or advice is not None:
            raise errors.RetimbreError(
                f"{path} is not valid JSON of metrics: restore it with `git checkout {path}` or `dvc repro`."
            ) from None
    return TypeAdapter(shape).validate_python({})


def speeds(evaluation: Path) -> dict[str, float]:
    """Real-time factors of the systems whose outputs lie in ``evaluation``; none of those of another run."""
    from retimbre.provenance import digest_of_files

    outputs, found = evaluation / "outputs.csv", read_json(evaluation.parent / "speed.json", Speed, None)
    return found.rtf if outputs.is_file() and digest_of_files([outputs]) == found.outputs else {}


def summary(args: argparse.Namespace) -> None:
    metrics = read_json(args.metrics / "evaluation.json", Evaluation, "run `dvc repro` first")
    print(table(metrics.model_extra, speeds(args.evaluation)))
    print("(means over the test set, both directions; - lower is better, + higher is better)")
    classifier = read_json(args.metrics / "stages" / "classifier.json", Classifier, None)
    if said := on_recordings(classifier.on_recordings):
        print(said)
    if verdict := metrics.calibration.get("verdict"):
        print(verdict)
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
    found = comparison.compare_runs(*sides, args.system, args.metric)
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

    p = commands.add_parser(
        "transfer",
        help="turn a recording into the same music on another instrument",
        description="Turn a recording into the same music on another instrument. Reads any format, rate "
        "and length that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF ...); channels are mixed down; writes "
        "16-bit WAV of the same rate, length and loudness.",
    )
    p.add_argument("input", type=Path, metavar="INPUT", help="the recording")
    help = "the instrument, a domain of the trained models, such as guitar"
    p.add_argument("--to", required=True, metavar="DOMAIN", help=help)
    help = "where to write (default: INPUT-DOMAIN.wav beside the input)"
    p.add_argument("-o", "--output", type=Path, metavar="OUT.wav", help=help)
    p.add_argument(
        "--system",
        metavar="NAME",
        help="the trained system to use (default: the first that is trained and knows the instrument: "
        f"{', '.join(DEFAULTS)}, then those of `systems` in params.yaml)",
    )
    help = "octaves up or down, or auto: into the range of the instrument (default: 0)"
    p.add_argument("--transpose", type=octaves, default=0, metavar="auto|N", help=help)
    help = "how much of bends, vibrato and swells is taken over, 0 to 1 (default: 1)"
    p.add_argument("--expression", type=share, default=1.0, metavar="X", help=help)
    p.add_argument(
        "--vocoder",
        choices=get_args(Kind),
        help="from spectra to audio: on the source's phases (fast, clean), by Griffin-Lim, by a network "
        "with an inverse STFT, sampled by a WaveNet (slow), or by a WaveNet that hears what Griffin-Lim "
        "makes; it must be trained (default: rendering.vocoder in params.yaml)",
    )
    add_folder(p, "--models", Path("data/models"), "trained models")
    p.add_argument("--seed", type=natural, default=0, help="of what a vocoder draws (default: 0)")
    p.set_defaults(run=transfer)

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

    # Reads params' types only; a study's modules are imported when a verb runs.
    from retimbre.listening.cli import add_parser

    add_parser(commands)
    return top


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(sys.argv[1:] if argv is None else argv)
    errors.run(lambda: args.run(args))


if __name__ == "__main__":
    main()
