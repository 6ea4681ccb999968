"""``retimbre transfer`` and ``retimbre export``. Heavy imports wait until they run."""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO, get_args

from retimbre.arguments import natural, octaves, positive, share
from retimbre.audio.formats import FORMATS, format_of
from retimbre.errors import RetimbreError
from retimbre.paths import check_place, shown
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
class StandardStreams:
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

    def lines(self, target: Path) -> TextIO:
        """The stream for what is said of an output: standard output may be its audio's."""
        return sys.stderr if target == self.target else sys.stdout

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
    from retimbre.systems import batch

    retimbre = trained(args, args.transpose, args.expression)
    with TemporaryDirectory(prefix="retimbre-") as folder:
        streams = StandardStreams(Path(folder))
        inputs = [streams.source if name == STREAM else Path(name) for name in args.inputs]
        output = Path(args.output) if args.output else None
        if args.output == STREAM:
            output = streams.target
        try:
            if streams.source in inputs:
                streams.read()
            wanted = instruments(args.to)
            tasks, alone = batch.plan(inputs, wanted, output, args.format), batch.alone(inputs, wanted)
            if args.midi:
                check_midi(args.midi, alone)
            if alone:
                report(batch.make(retimbre, tasks[0], **how(args)), retimbre, streams, args.mono)
                if args.midi:
                    from retimbre.nn.transcriber.midi import write_heard

                    write_heard(inputs[0], args.midi)
                    say(shown(f"{args.midi}  (the notes that were heard)"), streams.lines(output))
                if output == streams.target:
                    streams.write()
            else:
                several(tasks, retimbre, streams, args)
        except RetimbreError as error:
            raise RetimbreError(streams.named(str(error))) from None


def trained(args: argparse.Namespace, octaves: int | None = 0, expression: float = 1.0) -> "Retimbre":
    """The systems that the options name."""
    from retimbre.systems import library

    places = tuple(library.places(args.models))
    return library.Retimbre(places, args.system, args.vocoder, rendering(), octaves, expression)


def instruments(text: str) -> list[str]:
    """Instruments that an argument separates by commas."""
    names = [name for name in dict.fromkeys(text.split(",")) if name]
    for name in names or [text]:
        if not name.replace("_", "").isalnum():
            raise RetimbreError(
                f"{name!r} is not the name of an instrument: `retimbre transfer --list` shows them."
            )
    return names


def check_midi(path: Path, alone: bool) -> None:
    """Raise RetimbreError unless the notes of one recording can be written to ``path``."""
    if not alone:
        raise RetimbreError("--midi is for one file on one instrument: leave it out, or give one file.")
    if path.suffix.lower() not in (".mid", ".midi"):
        raise RetimbreError(f"{path} must end in .mid: the notes are written as MIDI.")
    check_place(path)


def how(args: argparse.Namespace) -> dict[str, Any]:
    """Options of ``streaming.transfer_file`` that are the same for every recording."""
    return {"seed": args.seed, "mono": args.mono, "mix": args.mix}


def several(
    tasks: "list[Task]", retimbre: "Retimbre", streams: StandardStreams, args: argparse.Namespace
) -> None:
    """Make what is missing of many outputs. Raises RetimbreError in the end where one could not be made."""
    from retimbre.systems import batch

    todo = [task for task in tasks if args.overwrite or not task.target.exists()]
    failed = 0
    for done in batch.make_all(retimbre, todo, args.jobs, **how(args)):
        if done.problem:
            failed += 1
            say(streams.named(f"error: {done.problem}"), sys.stderr)
        else:
            report(done, retimbre, streams, args.mono)
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


def report(done: "Done", retimbre: "Retimbre", streams: StandardStreams, mono: bool) -> None:
    """Print what was made, and what should be known of the recording."""
    source, target, found, outcome = done.task.source, done.task.target, done.found, done.outcome
    for note in [*found.notes, *outcome.notes]:
        say(streams.named(f"note: {source}: {note}"), sys.stderr)
    info, rate = found.info, format_of(target).rate(found.info.sample_rate)
    parts = [f"by {retimbre.find(done.task.to)}", f"{found.duration_s:.1f} s"]
    parts += [f"{rate} Hz" if rate == info.sample_rate else f"{rate} Hz in place of {info.sample_rate}"]
    if info.channels > 1:
        parts += [f"{info.channels} channels{' mixed down to one' if mono else ''}"]
    if outcome.quieter_db > 0.5:
        parts += [f"{outcome.quieter_db:.1f} dB quieter than the input, not to clip"]
    say(streams.named(f"{target}  ({', '.join(parts)})"), streams.lines(target))


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


def export(args: argparse.Namespace) -> None:
    from retimbre.systems.export import export as write

    retimbre = trained(args)
    write(retimbre.system_for(args.to), args.to, args.output)
    size = args.output.stat().st_size / 1e6
    print(shown(f"{args.output}  (by {retimbre.find(args.to)}, {size:.1f} MB)"))


def rendering() -> Rendering:
    """The params' way from spectra to audio, or the default one where there is no project."""
    if not Path("params.yaml").is_file():
        return Rendering()
    from retimbre import params

    return params.load("rendering").rendering


def add_models(p: argparse.ArgumentParser) -> None:
    """Add the option that names trained models."""
    p.add_argument(
        "--models",
        metavar="FOLDER|NAME",
        help="trained models: a folder, or the name of weights that come with the package, such as "
        f"orchestra (default: {MODELS}, and those weights for instruments that nothing there knows)",
    )


def add_system(p: argparse.ArgumentParser) -> None:
    """Add the options that choose a trained system."""
    p.add_argument(
        "--system",
        metavar="NAME",
        help="the trained system to use (default: the first that is trained and knows the instrument: "
        f"{', '.join(DEFAULTS)}, then those of `systems` in params.yaml)",
    )
    add_models(p)


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add ``export``."""
    p = commands.add_parser(
        "export",
        help="write a system and an instrument as one graph: ONNX, or torch.export's .pt2",
        description="Write a system and one of its instruments as one graph of audio (N,) to audio (N,), for "
        "onnxruntime or torch without this package. See docs/export.md.",
    )
    p.add_argument("--to", required=True, metavar="INSTRUMENT", help="the instrument")
    help = "where to write; the ending says what: .onnx or .pt2"
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=help)
    add_system(p)
    help = "from spectra to audio: griffin_lim or istft (default: rendering.vocoder in params.yaml)"
    p.add_argument("--vocoder", choices=("griffin_lim", "istft"), help=help)
    p.set_defaults(run=export)


def add_transfer(commands: argparse._SubParsersAction) -> None:
    """Add ``transfer``."""
    *others, last = FORMATS
    p = commands.add_parser(
        "transfer",
        help="turn recordings into the same music on another instrument",
        description="Turn recordings into the same music on another instrument. Reads any format, rate and "
        f"length that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF ...); writes {', '.join(others)} or {last} "
        "of the same rate, length, loudness and number of channels, whose image is kept.",
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
    add_system(p)
    help = "octaves up or down, or auto: into the range of the instrument (default: 0)"
    p.add_argument("--transpose", type=octaves, default=0, metavar="auto|N", help=help)
    help = "how much of bends, vibrato and swells is taken over, 0 to 1 (default: 1)"
    p.add_argument("--expression", type=share, default=1.0, metavar="X", help=help)
    help = "one channel, whatever comes in (default: the channels of the recording, with their image)"
    p.add_argument("--mono", action="store_true", help=help)
    help = "share of the recording in the output, 0 to 1, of its power (default: 0)"
    p.add_argument("--mix", type=share, default=0.0, metavar="X", help=help)
    help = "write the notes, too, that the transcriber of the system resynthesis hears in the recording: "
    help += "MIDI at 120 quarter notes a minute, without bends, not transposed"
    p.add_argument("--midi", type=Path, metavar="OUT.mid", help=help)
    p.add_argument(
        "--vocoder",
        choices=get_args(Kind),
        help="from spectra to audio: on the source's phases (fast, clean), by Griffin-Lim, by a network "
        "with an inverse STFT, sampled by a WaveNet (slow), or by a WaveNet that hears what Griffin-Lim "
        "makes; it must be trained (default: rendering.vocoder in params.yaml)",
    )
    p.add_argument("--seed", type=natural, default=0, help="of what a vocoder draws (default: 0)")
    help = "show the instruments and systems that can be used, and their scores, and transfer nothing"
    p.add_argument("--list", action="store_true", help=help)
    p.set_defaults(run=transfer)
