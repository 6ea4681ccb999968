"""``retimbre listen``: build, serve, import, analyse, simulate, delete. Heavy imports wait until a command runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retimbre.errors import RetimbreError

if TYPE_CHECKING:
    from retimbre.params import Listening

PLACE = Path("reports/listening")
EVALUATION = Path("data/evaluation")


def settings(args: argparse.Namespace) -> "Listening":
    from retimbre import params

    return params.load("listening", path=args.params).listening


def folder(args: argparse.Namespace) -> Path:
    """The study's folder: the one given, else the one that params name."""
    return args.study if args.study is not None else args.place / settings(args).study


def build(args: argparse.Namespace) -> None:
    from retimbre import params
    from retimbre.listening import bundle

    loaded = params.load("listening", "audio", path=args.params)
    place = bundle.build(args.evaluation, loaded.listening, loaded.audio.sample_rate, args.place)
    size = sum(path.stat().st_size for path in (place / "site").rglob("*") if path.is_file())
    print(f"{place}: frozen, {len(bundle.read_key(place))} clips, {size / 1e6:.1f} MB")
    print(f"read {place / 'protocol.md'}, then `retimbre listen serve`")


def serve(args: argparse.Namespace) -> None:
    if not 0 <= args.port <= 65535:
        raise RetimbreError(f"--port {args.port} is no port: give 0 to 65535.")
    from retimbre.listening import server

    server.serve(folder(args), args.host, args.port)


def import_answers(args: argparse.Namespace) -> None:
    from retimbre.listening import responses

    new, total = responses.import_files(args.files, folder(args))
    print(f"{new} new pages of {total}, {total - new} were there already")


def analyse(args: argparse.Namespace) -> None:
    from retimbre.listening import analysis

    place = folder(args)
    result = analysis.analyse(place, args.evaluation / "per_item.parquet", draws=args.draws, seed=args.seed)
    print(analysis.as_text(result))
    print(f"\nreport: {place / 'analysis.html'}")


def simulate(args: argparse.Namespace) -> None:
    from retimbre.listening import simulation

    place = folder(args)
    sessions, pages = simulation.simulate(place, args.listeners, args.effect, args.seed)
    print(f"{sessions} simulated listeners, {pages} pages: the analysis will be stamped SIMULATED")


def delete(args: argparse.Namespace) -> None:
    from retimbre.listening.responses import Plan, Store

    place = folder(args)
    with Store(place, Plan.load(place)) as store:
        if args.session not in store.sessions:
            raise RetimbreError(f"{place} has no session {args.session}: give the code that the listener was shown.")
        print(f"{store.delete(args.session)} pages deleted")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``listen`` with its own commands."""
    top = commands.add_parser(
        "listen",
        help="the listening test: build, serve, import, analyse, simulate, delete",
        description="A listening test of the evaluated systems: what people hear, beside what the metrics say. See docs/listening.md.",
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: object, text: str) -> argparse.ArgumentParser:
        p = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        p.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
        p.add_argument("--place", type=Path, default=PLACE, metavar="FOLDER", help=f"folder of all studies (default: {PLACE})")
        if name != "build":
            p.add_argument(
                "--study", type=Path, default=None, metavar="FOLDER", help="a study's folder (default: the one that params name)"
            )
        p.set_defaults(run=run)
        return p

    evaluation = {"type": Path, "default": EVALUATION, "metavar": "FOLDER", "help": f"outputs of evaluate (default: {EVALUATION})"}
    verb("build", build, "freeze the study that params describe and write its page").add_argument("--evaluation", **evaluation)
    p = verb("serve", serve, "serve the page and keep the answers")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    p.add_argument("--port", type=int, default=8080, help="default: 8080; 0 takes any free one")
    p = verb("import", import_answers, "merge files of answers that listeners saved")
    p.add_argument("files", type=Path, nargs="+", metavar="ANSWERS.json")
    p = verb("analyse", analyse, "screen the answers, estimate, test, and write analysis.json and analysis.html")
    p.add_argument("--evaluation", **evaluation)
    p.add_argument("--draws", type=int, default=2000, help="bootstrap draws (default: 2000)")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    p = verb("simulate", simulate, "fill the study with answers of known effects, to try the analysis")
    p.add_argument("--listeners", type=int, default=24, help="default: 24")
    p.add_argument("--effect", type=float, default=0.8, help="advantage of each system over the baselines in scale points (default: 0.8)")
    p.add_argument("--seed", type=int, default=0, help="of the answers (default: 0)")
    p = verb("delete", delete, "delete a listener's answers")
    p.add_argument("session", metavar="SESSION", help="the code that the listener was shown")
