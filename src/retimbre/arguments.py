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


def octaves(text: str) -> int | None:
    """An argument of so many octaves up or down; None for ``auto``."""
    if text == "auto":
        return None
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    if not (digits.isascii() and digits.isdigit() and len(digits) == 1):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number of octaves")
    return int(sign + digits)


def share(text: str) -> float:
    """An argument from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def add_folder(parser: argparse.ArgumentParser, name: str, default: Path, what: str) -> None:
    """Add an option that names a folder."""
    help = f"{what} (default: {default})"
    parser.add_argument(name, type=Path, default=default, metavar="FOLDER", help=help)


def port(text: str) -> int:
    """An argument that names a port."""
    if natural(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: give 0 to 65535")
    return int(text)


def add_address(parser: argparse.ArgumentParser, default_port: int) -> None:
    """Add the options of a local server's address."""
    help = "default: 127.0.0.1, which only this machine can reach"
    parser.add_argument("--host", default="127.0.0.1", help=help)
    help = f"port; 0 takes any free one (default: {default_port})"
    parser.add_argument("--port", type=port, default=default_port, help=help)
