"""Weights on disk: safetensors, written whole or not at all, and read with one sentence when they cannot be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from retimbre.errors import RetimbreError

DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)  # what reading a broken model can raise


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the network's parameters and buffers; an older file stays until the new one is complete."""
    part = path.with_name(f".{path.name}.part")
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, part)
        part.chmod(0o644)  # safetensors makes files that only their owner can read
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def reading(folder: Path, what: str, stage: str) -> Iterator[None]:
    """Around the reading of a model: missing or damaged files become a RetimbreError that names the folder and what to do."""
    try:
        yield
    except FileNotFoundError:
        raise RetimbreError(f"{folder} has no trained {what}: train it with `dvc repro {stage}`, or fetch it with `dvc pull`.") from None
    except DAMAGED as error:
        raise RetimbreError(
            f"{folder} is damaged or of another version ({type(error).__name__}): `dvc checkout --force {folder}` restores it."
        ) from None
