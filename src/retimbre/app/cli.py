"""``retimbre app``. Heavy imports wait until it runs."""

import argparse

from retimbre.arguments import add_address
from retimbre.errors import RetimbreError
from retimbre.systems.cli import add_models, rendering


def app(args: argparse.Namespace) -> None:
    try:
        from retimbre.app import server

        server.serve(args.models, rendering(), args.host, args.port)
    except ImportError as error:
        raise RetimbreError(
            f'the page lacks a package ({error}): run `pip install "retimbre[app]"`.'
        ) from None


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``app``."""
    p = commands.add_parser(
        "app",
        help="the same on a web page: drop a recording, hear and see the result",
        description="Serve a web page on which recordings are transferred, heard and seen. It asks nothing "
        "of the internet; what is sent to it is deleted when the page is left.",
    )
    add_models(p)
    add_address(p, 7860)
    p.set_defaults(run=app)
