"""Arguments of commands: types, and options that several have."""

import argparse
from pathlib import Path


def natural(text: str) -> int:
    """An argument that counts from 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    """An argument that counts from 1."""
    if natural(text) == 0:
        raise argparse.ArgumentTypeError("0 is not a whole number from 1 up")
    return int(text)


def add_folder(parser: argparse.ArgumentParser, name: str, default: Path, what: str) -> None:
    """Add an option that names a folder."""
    help = f"{what} (default: {default})"
    parser.add_argument(name, type=Path, default=default, metavar="FOLDER", help=help)
