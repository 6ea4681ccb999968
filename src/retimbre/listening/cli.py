"""``retimbre listen`` and its commands. Heavy imports wait until one runs."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retimbre.arguments import add_address, add_folder, natural, positive

PLACE = Path("reports/listening")
EVALUATION = Path("data/evaluation")


def folder(args: argparse.Namespace) -> Path:
    """The study's folder: the one given, else the one that params name."""
    if args.study is not None:
        return args.study
    from retimbre import params

    return args.place / params.load("listening", path=args.params).listening.study


def build(args: argparse.Namespace) -> None:
    from retimbre import params
    from retimbre.listening import bundle

    loaded = params.load("listening", "audio", path=args.params)
    place = bundle.build(args.evaluation, loaded.listening, loaded.audio.sample_rate, args.place)
    size = sum(path.stat().st_size for path in (place / "site").rglob("*") if path.is_file())
    print(f"{place}: frozen, {len(bundle.read_key(place))} clips, {size / 1e6:.1f} MB")
    print(f"read {place / 'protocol.md'}, then `retimbre listen serve --study {place}`")


def serve(args: argparse.Namespace) -> None:
    from retimbre.listening import server

    server.serve(folder(args), args.host, args.port)


def export(args: argparse.Namespace) -> None:
    from retimbre.listening.responses import Plan, read_answers

    place = folder(args)
    print(read_answers(place, Plan.load(place)).to_csv(index=False, lineterminator="\n"), end="")


def analyse(args: argparse.Namespace) -> None:
    from retimbre.listening import analysis

    place = folder(args)
    result = analysis.analyse(place, args.evaluation / "per_item.parquet", draws=args.draws, seed=args.seed)
    print(analysis.as_text(result))
    print(f"\nreport: {place / 'analysis.html'}")


def simulate(args: argparse.Namespace) -> None:
    from retimbre.listening import simulation

    sessions, pages = simulation.simulate(folder(args), args.listeners, args.effect, args.seed)
    print(f"{sessions} simulated listeners, {pages} pages: the analysis will be stamped SIMULATED")


def delete(args: argparse.Namespace) -> None:
    from retimbre.listening.responses import Plan, Store

    place = folder(args)
    with Store(place, Plan.load(place)) as store:
        print(f"{store.delete(args.session)} pages deleted")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``listen`` with its own commands."""
    top = commands.add_parser(
        "listen",
        help="the listening test: build, serve, export, analyse, simulate, delete",
        description="Listening test of the evaluated systems: what people hear, beside what the metrics say. "
        "See docs/listening.md.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        p = verbs.add_parser(run.__name__, help=text, description=text[0].upper() + text[1:] + ".")
        p.add_argument(
            "--params", type=Path, default="params.yaml", metavar="FILE", help="default: params.yaml"
        )
        add_folder(p, "--place", PLACE, "folder of all studies")
        if run is not build:
            help = "a study's folder (default: the one that params name)"
            p.add_argument("--study", type=Path, metavar="FOLDER", help=help)
        if run in (build, analyse):
            add_folder(p, "--evaluation", EVALUATION, "outputs of evaluate")
        p.set_defaults(run=run)
        return p

    def number(
        p: argparse.ArgumentParser, name: str, default: Any, text: str, kind: Callable[[str], Any] = natural
    ) -> None:
        p.add_argument(name, type=kind, default=default, help=f"{text} (default: {default})")

    verb(build, "freeze the study that params describe and write its page")
    add_address(verb(serve, "serve the page and keep the answers"), 8080)
    verb(export, "print all answers as CSV")
    p = verb(analyse, "screen the answers, estimate, test, and write analysis.json and analysis.html")
    number(p, "--draws", 2000, "bootstrap draws", positive)
    number(p, "--seed", 0, "of the bootstrap")
    p = verb(simulate, "fill the study with answers of known effects, to try the analysis")
    number(p, "--listeners", 24, "how many", positive)
    number(p, "--effect", 0.8, "advantage of each system over the baselines in scale points", float)
    number(p, "--seed", 0, "of the answers")
    verb(delete, "delete a listener's answers").add_argument(
        "session", help="the code that the listener was shown"
    )
