"""Systems by name: every folder beside this file that has a ``params.py`` is one.

A system's folder holds ``__init__.py`` (whose first line is what a table says of it), ``params.py`` (its
section of the params, ``Params``), ``train.py`` (``fit(data, p, run) -> (model, history)``) and
``system.py`` (what is stored and used: ``Change`` of spectra, or ``System`` of audio; neither imports a
training).

``systems`` of ``params.yaml`` maps each name that is trained to the folder of its code: another name with a
section of its own is the same code with other values.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import retimbre.systems
from retimbre.errors import RetimbreError

if TYPE_CHECKING:
    from retimbre.section import Section
    from retimbre.systems.base import System
    from retimbre.vocoders.catalogue import Vocoder
    from retimbre.vocoders.params import Rendering

# Always trained, by a stage of their own; the first that is trained and knows the target is used.
DEFAULTS = ("resynthesis", "cyclegan")
MODELS = Path("data/models")
NOT_SYSTEMS = {"vocoder", "classifier"}  # folders of data/models


@cache
def names() -> tuple[str, ...]:
    """Names of all systems whose code is here, the default ones first."""
    found = [
        module.name
        for module in pkgutil.iter_modules(retimbre.systems.__path__)
        if module.ispkg and importlib.util.find_spec(f"retimbre.systems.{module.name}.params")
    ]
    found = [name for name in found if name != "baselines"]
    return tuple(
        sorted(found, key=lambda name: (DEFAULTS.index(name) if name in DEFAULTS else len(DEFAULTS), name))
    )


def _part(name: str, part: str) -> Any:
    """A module of a system's folder. Raises RetimbreError for a name that is no system."""
    if name not in names():
        raise RetimbreError(f"{name!r} is not a system: choose {', '.join(names())}.")
    return importlib.import_module(f"retimbre.systems.{name}{'.' if part else ''}{part}")


def about(name: str) -> str:
    """One sentence on a system: the first line of its folder's docstring; none without a folder."""
    return "" if name not in names() else (_part(name, "").__doc__ or "").strip().partition("\n")[0]


# ----------------------------------------------------------------------------------------- params


def section_name(name: str) -> str:
    """The section of the params that a system is trained by: its own name, unless it says another."""
    return getattr(_part(name, "params").Params, "section", name) if name in names() else name


def sections(systems: Any, taken: Collection[str]) -> dict[str, type["Section"]]:
    """Classes of the sections of all systems, by the sections' names; ``systems``: the section of the
    params, not validated yet; ``taken``: names of other sections.
    """
    found = {section_name(name): _part(name, "params").Params for name in names()}
    for name, kind in systems.items() if isinstance(systems, Mapping) else ():
        if kind in names() and name not in (*names(), *found, *taken):
            annotations = {"kind": ClassVar[str], "section": ClassVar[str]}
            members = {"__annotations__": annotations, "kind": kind, "section": name, "__module__": __name__}
            found[name] = type(name, (_part(kind, "params").Params,), members)
    return found


def kind_of(name: str, p: Any) -> str:
    """The system whose code a name runs: what ``systems`` says of a configuration, else itself."""
    return getattr(type(p), "kind", name)


# ------------------------------------------------------------------------------ training and use


def trainer(name: str, p: Any) -> Any:
    """``fit`` of a system, and the name of the module that it is in."""
    module = _part(kind_of(name, p), "train")
    return module.fit, module.__name__


def store(name: str, p: Any, model: Any, folder: Path) -> None:
    """Save a model with the name of the code that reads it."""
    from retimbre.nn.weights import read_config, write_config

    model.save(folder)
    write_config(folder, {"system": kind_of(name, p), **read_config(folder)})


def load(
    name: str,
    models: Path = MODELS,
    vocoder: "Vocoder | str | None" = None,
    rendering: "Rendering | None" = None,
) -> "System":
    """A trained system, if spectral with ``vocoder``: one, or a kind in ``models``.

    ``vocoder`` None: the default of ``rendering``. Raises RetimbreError when it is not trained, or damaged.
    """
    from retimbre.systems.base import Spectral

    with _reading(name, models):
        module = _part(_config(name, models)["system"], "system")
        if hasattr(module, "System"):
            return module.System.load(models / name)
        change = module.Change.load(models / name)
    if vocoder is None or isinstance(vocoder, str):
        from retimbre.vocoders.catalogue import Vocoders
        from retimbre.vocoders.params import Rendering

        vocoder = Vocoders.load(models / "vocoder", rendering or Rendering()).by(vocoder)
    return Spectral(name, change, vocoder)


def _reading(name: str, models: Path) -> AbstractContextManager[None]:
    """Read a trained system in this block: what is missing or damaged becomes one sentence."""
    from retimbre.nn.weights import reading

    return reading(models / name, name, name if name in DEFAULTS else f"system@{name}")


def _config(name: str, models: Path) -> dict[str, Any]:
    from retimbre.nn.weights import read_config

    return read_config(models / name)


def trained(models: Path = MODELS) -> list[str]:
    """Names of the systems that ``models`` holds, in the order in which one is chosen."""
    if not models.is_dir():
        return []
    found = sorted(
        path.parent.name for path in models.glob("*/config.json") if path.parent.name not in NOT_SYSTEMS
    )
    return [*(name for name in DEFAULTS if name in found), *(name for name in found if name not in DEFAULTS)]


def targets_of(name: str, models: Path = MODELS) -> list[str]:
    """Instruments that a trained system can be asked for, without loading it."""
    with _reading(name, models):
        config = _config(name, models)
        return config.get("targets", config.get("domains", []))
