"""``retimbre sample``. Heavy imports wait until it runs."""

import argparse
from pathlib import Path

from retimbre.arguments import add_folder, natural, positive


def sample(args: argparse.Namespace) -> None:
    from retimbre.audio.files import write_wav
    from retimbre.datasets.scores.performance import read_midi
    from retimbre.errors import RetimbreError
    from retimbre.paths import check_place
    from retimbre.synthesis import catalogue, performance

    check_place(args.output)
    if args.walk and args.to_midi is None:
        raise RetimbreError("--walk is for MIDI files: give --to-midi too, or leave it out.")
    model = catalogue.load(args.system, args.models)
    if args.to_midi is None:
        pitches = None if args.pitch is None else [args.pitch]
        if pitches is None and model.pitches:
            pitches = [performance.within(60, model.pitches)]
        audio = model.decode(model.latents(1, args.seed), pitches)[0]
    else:
        try:
            notes = read_midi(args.to_midi)
        # pretty_midi and mido raise errors of many kinds for what is no MIDI file
        except Exception as error:
            raise RetimbreError(
                f"{args.to_midi} cannot be read as a MIDI file ({type(error).__name__}): give another one."
            ) from None
        audio = performance.play(notes, model, args.seed, args.walk)
    write_wav(args.output, audio, model.sample_rate)
    print(args.output)


def add_sample(commands: argparse._SubParsersAction) -> None:
    """Add ``sample``."""
    p = commands.add_parser(
        "sample",
        help="make notes from noise, or play a MIDI file with them",
        description="Make a note with a generator that `make generation` has trained, or play a MIDI file "
        "with it note by note. A file's notes outside of what it has learned are moved by octaves.",
    )
    p.add_argument("--system", default="gansynth", help="row of the study (default: gansynth)")
    what = p.add_mutually_exclusive_group()
    what.add_argument("--pitch", type=natural, help="MIDI number (default: 60, where a pitch can be chosen)")
    what.add_argument("--to-midi", type=Path, metavar="FILE.mid", help="play this file")
    p.add_argument("--seed", type=natural, default=0, help="of the noise (default: 0)")
    help = "with --to-midi: go to another sound every so many seconds (default: one sound throughout)"
    p.add_argument("--walk", type=positive, metavar="SECONDS", help=help)
    p.add_argument("-o", "--output", type=Path, required=True, help="WAV file to write")
    add_folder(p, "--models", Path(".scratch/generation/models"), "trained generators")
    p.set_defaults(run=sample)
