"""Models on disk: safetensors and ``config.json``; one sentence when they cannot be read."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.paths import part_beside

SHIPPED = Path(__file__).parent.parent / "weights"  # with the package: a folder of models each
# What reading a broken model can raise.
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
Network = TypeVar("Network", bound=nn.Module)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name; an older file stays until the new one is complete."""
    with part_beside(path) as part:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, part)
        part.chmod(0o644)  # safetensors makes files that only their owner can read


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the network's parameters and buffers as :func:`save_tensors` does."""
    save_tensors(path, network.state_dict())


def write_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write ``config.json``, from which a model is rebuilt, into its folder."""
    (folder / "config.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Read what :func:`write_config` wrote."""
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def save_model(path: Path, network: nn.Module, config: Mapping[str, Any]) -> None:
    """Write a network's weights and, beside them, its configuration; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, network)
    write_config(path.parent, config)


def with_weights(network: Network, path: Path) -> Network:
    """The network with the weights of a file, for use: in evaluation mode, without gradients."""
    network.load_state_dict(load_file(path))
    return network.requires_grad_(False).eval()


def size(*networks: nn.Module) -> int:
    """Number of the networks' parameters."""
    return sum(x.numel() for network in networks for x in network.parameters())


@contextmanager
def reading(folder: Path, name: str, stage: str | None = None) -> Iterator[None]:
    """Read a model in this block: missing or damaged files become a RetimbreError that names the folder and
    what to do. ``stage``: of DVC, that makes it (default: ``name``).
    """
    try:
        yield
    except FileNotFoundError:
        how = f"train it with `dvc repro {stage or name}`, or fetch it with `dvc pull`"
        raise RetimbreError(f"{folder} has no trained {name}: {how}.") from None
    except DAMAGED as error:
        how = f"`dvc checkout --force {folder}` restores it"
        problem = f"is damaged or of another version ({type(error).__name__})"
        raise RetimbreError(f"{folder} {problem}: {how}.") from None


def shipped_folder(name: str, parameter: str) -> Path:
    """Folder of the shipped models that a training starts from, as ``parameter`` names them.

    Raises RetimbreError where there are none of that name.
    """
    known = sorted({path.relative_to(SHIPPED).parts[0] for path in SHIPPED.glob("*/*/config.json")})
    if name not in known:
        raise RetimbreError(
            f"{parameter} is {name!r}: name weights that come with the package ({', '.join(known)}), or null."
        )
    return SHIPPED / name


def check_features(own: Any, theirs: Any, name: str, parameter: str) -> None:
    """Raise RetimbreError unless features are those on which shipped models were trained."""
    if own != theirs:
        raise RetimbreError(
            f"{parameter} is {name}, whose networks were trained on other features than these: lay a profile "
            "over the params that has theirs (`make profile P=own_instrument`), or set it to null."
        )
