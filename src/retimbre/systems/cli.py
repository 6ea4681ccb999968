"""``retimbre transfer``. Heavy imports wait until it runs."""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, get_args

from retimbre.arguments import natural, octaves, positive, share
from retimbre.audio.formats import FORMATS, format_of
from retimbre.errors import RetimbreError
from retimbre.paths import shown
from retimbre.progress import say
from retimbre.systems.catalogue import DEFAULTS, MODELS
from retimbre.vocoders.params import Kind, Rendering

if TYPE_CHECKING:
    from retimbre.systems.batch import Done, Task
    from retimbre.systems.library import Retimbre

STREAM = "-"  # standard input, standard output
METRICS = Path("metrics/evaluation.json")  # of the project's models
METRICS_BESIDE = "metrics.json"  # of models elsewhere, in their folder


@dataclass(frozen=True)
class Streams:
    """Standard input and output as files of a temporary folder: audio is read more than once, and a WAV's
    header is written last.
    """

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "stdin"

    @property
    def target(self) -> Path:
        return self.folder / "stdout.wav"

    def named(self, text: str) -> str:
        """Text in which the files have the streams' names."""
        text = text.replace(str(self.source), "standard input").replace(str(self.target), "standard output")
        return shown(text)

    def read(self) -> None:
        with open(self.source, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)

    def write(self) -> None:
        with open(self.target, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def transfer(args: argparse.Namespace) -> None:
    if args.list:
        listing(args.models)
        return
    if not args.inputs or not args.to:
        raise RetimbreError(
            "give recordings and --to INSTRUMENT: `retimbre transfer --list` shows the instruments."
        )
    if STREAM in args.inputs and (len(args.inputs) > 1 or args.output is None):
        raise RetimbreError(
            "standard input (-) goes alone and has no name: give no other input, and -o OUT.wav, or -o - for "
            "standard output."
        )
    if args.output == STREAM and sys.stdout.isatty():
        raise RetimbreError(
            "standard output is a terminal: send it to a file or a program, or give -o OUT.wav."
        )
    from retimbre.systems import batch, library

    places = tuple(library.places(args.models))
    retimbre = library.Retimbre(
        places, args.system, args.vocoder, rendering(), args.transpose, args.expression
    )
    with TemporaryDirectory(prefix="retimbre-") as folder:
        streams = Streams(Path(folder))
        inputs = [streams.source if name == STREAM else Path(name) for name in args.inputs]
        output = Path(args.output) if args.output else None
        if args.output == STREAM:
            output = streams.target
        try:
            if streams.source in inputs:
                streams.read()
            wanted = instruments(args.to)
            tasks = batch.plan(inputs, wanted, output, args.format)
            if batch.alone(inputs, wanted):
                report(batch.make(retimbre, tasks[0], args.seed), retimbre, streams)
                if output == streams.target:
                    streams.write()
            else:
                several(tasks, retimbre, streams, args)
        except RetimbreError as error:
            raise RetimbreError(streams.named(str(error))) from None


def instruments(text: str) -> list[str]:
    """Instruments that an argument separates by commas."""
    names = [name for name in dict.fromkeys(text.split(",")) if name]
    for name in names or [text]:
        if not name.replace("_", "").isalnum():
            raise RetimbreError(
                f"{name!r} is not the name of an instrument: `retimbre transfer --list` shows them."
            )
    return names


def several(tasks: "list[Task]", retimbre: "Retimbre", streams: Streams, args: argparse.Namespace) -> None:
    """Make what is missing of many outputs. Raises RetimbreError in the end where one could not be made."""
    from retimbre.systems import batch

    todo = [task for task in tasks if args.overwrite or not task.target.exists()]
    failed = 0
    for done in batch.make_all(retimbre, todo, args.jobs, args.seed):
        if done.problem:
            failed += 1
            say(streams.named(f"error: {done.problem}"), sys.stderr)
        else:
            report(done, retimbre, streams)
    there = len(tasks) - len(todo)
    parts = [f"{len(todo) - failed} made"]
    parts += [f"{there} there already (--overwrite makes them again)"] if there else []
    parts += [f"{failed} failed"] if failed else []
    print(", ".join(parts))
    if failed:
        raise RetimbreError(
            f"{failed} of {len(tasks)} could not be made, for the reasons above: mend or take away these "
            "recordings and give the command again, which makes what is missing."
        )


def report(done: "Done", retimbre: "Retimbre", streams: Streams) -> None:
    """Print what was made, and what should be known of the recording."""
    source, target, found, outcome = done.task.source, done.task.target, done.found, done.outcome
    for note in [*found.notes, *outcome.notes]:
        say(streams.named(f"note: {source}: {note}"), sys.stderr)
    info, rate = found.info, format_of(target).rate(found.info.sample_rate)
    parts = [f"by {retimbre.find(done.task.to)}", f"{found.duration_s:.1f} s"]
    parts += [f"{rate} Hz" if rate == info.sample_rate else f"{rate} Hz in place of {info.sample_rate}"]
    parts += [f"{info.channels} channels mixed down to one"] if info.channels > 1 else []
    if outcome.quieter_db > 0.5:
        parts += [f"{outcome.quieter_db:.1f} dB quieter than the input, not to clip"]
    file = sys.stderr if target == streams.target else sys.stdout
    say(streams.named(f"{target}  ({', '.join(parts)})"), file)


def listing(models: str | None) -> None:
    """Print the systems that can be used, with their instruments and scores."""
    from retimbre.metrics.scores import Evaluation, Targets, read_json, table, table_of_targets
    from retimbre.systems import library

    for place in library.places(models):
        systems = library.Retimbre((place,)).systems
        print(shown(f"{place}:"))
        for found in systems:
            print(f"  {found.system}: {', '.join(found.targets)}")
        if place.folder == MODELS:
            scores = read_json(METRICS, Evaluation, None).model_extra
            text = table({name: scores[name] for found in systems if (name := found.system) in scores}, {})
        else:
            text = table_of_targets(read_json(place.folder / METRICS_BESIDE, Targets, None).targets)
        if text:
            print(text)


def rendering() -> Rendering:
    """The params' way from spectra to audio, or the default one where there is no project."""
    if not Path("params.yaml").is_file():
        return Rendering()
    from retimbre import params

    return params.load("rendering").rendering


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``transfer``."""
    *others, last = FORMATS
    p = commands.add_parser(
        "transfer",
        help="turn recordings into the same music on another instrument",
        description="Turn recordings into the same music on another instrument. Reads any format, rate and "
        f"length that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF ...); channels are mixed down; writes "
        f"{', '.join(others)} or {last} of the same rate, length and loudness.",
    )
    help = "recordings and folders of recordings; - is standard input"
    p.add_argument("inputs", nargs="*", metavar="INPUT", help=help)
    help = "the instrument, such as guitar; several are separated by commas"
    p.add_argument("--to", metavar="INSTRUMENT", help=help)
    p.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="the file to write, in the format of its ending, or the folder, in which the inputs' tree is "
        "kept; - is standard output, as WAV (default: INPUT-INSTRUMENT.wav beside each input)",
    )
    help = "of outputs that are not named by -o (default: wav)"
    p.add_argument("--format", choices=list(FORMATS), help=help)
    help = "of several outputs, make those again that are there (default: they are passed over)"
    p.add_argument("--overwrite", action="store_true", help=help)
    help = "of several outputs, make so many at a time, in processes of one thread each (default: 1)"
    p.add_argument("--jobs", type=positive, default=1, metavar="N", help=help)
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
    p.add_argument(
        "--models",
        metavar="FOLDER|NAME",
        help="trained models: a folder, or the name of weights that come with the package, such as "
        f"orchestra (default: {MODELS}, and those weights for instruments that nothing there knows)",
    )
    p.add_argument("--seed", type=natural, default=0, help="of what a vocoder draws (default: 0)")
    help = "show the instruments and systems that can be used, and their scores, and transfer nothing"
    p.add_argument("--list", action="store_true", help=help)
    p.set_defaults(run=transfer)
