"""Weights on disk: safetensors, written whole or not at all; one sentence when they cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from retimbre.errors import RetimbreError
from retimbre.paths import part_beside

# What reading a broken model can raise.
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the network's parameters and buffers; an older file stays until the new one is complete."""
    with part_beside(path) as part:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, part
        )
        part.chmod(0o644)  # safetensors makes files that only their owner can read


@contextmanager
def reading(folder: Path, name: str, stage: str | None = None) -> Iterator[None]:
    """Around the reading of a model: missing or damaged files become a RetimbreError that names the folder
    and what to do. ``stage``: of DVC, that makes it (default: ``name``).
    """
    try:
        yield
    except FileNotFoundError:
        how = f"train it with `dvc repro {stage or name}`, or fetch it with `dvc pull`"
        raise RetimbreError(f"{folder} has no trained {name}: {how}.") from None
    except DAMAGED as error:
        raise RetimbreError(
            f"{folder} is damaged or of another version ({type(error).__name__}): `dvc checkout "
            f"--force {folder}` restores it."
        ) from None
