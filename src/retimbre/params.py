"""A typed, validated view of ``params.yaml``: all sections put together, and the rules between them.

``load("seed", "model")`` reads the file once, checks *everything* in it and hands out only the sections
named: a stage that reads a section which ``dvc.yaml`` does not list for it fails in the test that compares
the two. Units stand in the file's comments and in the names (``_hz``, ``_s``, ``_db``).
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, create_model

from retimbre.classifiers.params import Classifier
from retimbre.datasets.preparation.params import Audio, Features
from retimbre.datasets.sources.params import Dataset
from retimbre.errors import RetimbreError
from retimbre.evaluation.params import Evaluate
from retimbre.listening.params import Listening
from retimbre.section import Machine, Name, Natural, Section
from retimbre.systems import catalogue
from retimbre.systems.baselines.params import Baselines
from retimbre.tracking import flatten as joined
from retimbre.vocoders.kinds import KINDS, STARTS_FROM, below
from retimbre.vocoders.params import Rendering, Vocoder


class Params(Section):
    """The whole file, without the sections of systems, which :func:`parse` adds."""

    seed: Natural
    systems: dict[Name, Name]
    vocoders: Annotated[dict[Name, str], Field(min_length=1)]
    machine: Machine
    dataset: Dataset
    audio: Audio
    features: Features
    classifier: Classifier
    vocoder: Vocoder
    rendering: Rendering
    evaluate: Evaluate
    baselines: Baselines
    listening: Listening


# ------------------------------------------------------------------------------------- rules between sections
# Each raises ValueError with one sentence that names the parameter and what to do.


def constant_q_fits(p: Params) -> None:
    """Every filter of the constant-Q transform lies below half of the sample rate."""
    f, nyquist = p.features, p.audio.sample_rate / 2
    top = f.cqt_fmin_hz * 2 ** ((f.cqt_bins - 1) / f.cqt_bins_per_octave)
    # Half of a Hann wavelet's bandwidth (1.5 bins of its transform) lies above its centre.
    edge = top * (1 + 0.75 * (2 ** (1 / f.cqt_bins_per_octave) - 1))
    if edge >= nyquist:
        raise ValueError(
            f"features.cqt_bins: the highest filter would end at {edge:.0f} Hz, above half of "
            f"audio.sample_rate ({nyquist:.0f} Hz): use fewer bins"
        )


def vocoders_are_known(p: Params) -> None:
    """Every network of ``vocoders`` exists and starts from what it needs; the default audio has its own."""
    for name, start in p.vocoders.items():
        if name not in STARTS_FROM:
            raise ValueError(f"vocoders names {name!r}: use some of {', '.join(STARTS_FROM)}")
        if start != STARTS_FROM[name]:
            raise ValueError(
                f"vocoders.{name} is {start!r}: the network starts from {STARTS_FROM[name]}, write that"
            )
        if (needed := below(name)) and needed not in p.vocoders:
            add = f"add `{needed}: {STARTS_FROM[needed]}`"
            raise ValueError(f"vocoders names {name} without {needed}, which it starts from: {add}")
    for name in p.evaluate.vocoders:
        if not hasattr(p, catalogue.section_name(name)):
            known = ", ".join((*catalogue.DEFAULTS, *p.systems))
            raise ValueError(
                f"evaluate.vocoders names {name!r}, which is no system here: use some of {known}"
            )
    asked = {"rendering.vocoder": [p.rendering.vocoder]}
    asked |= {f"evaluate.vocoders.{system}": kinds for system, kinds in p.evaluate.vocoders.items()}
    for key, kinds in asked.items():
        for kind in kinds:
            if missing := [name for name in KINDS[kind].networks if name not in p.vocoders]:
                raise ValueError(
                    f"{key} is {kind}, which needs {missing[0]}: add `{missing[0]}: "
                    f"{STARTS_FROM[missing[0]]}` to vocoders"
                )


def wavenet_crops_are_long_enough(p: Params) -> None:
    """A crop holds the receptive field, so that all of it learns."""
    hop = p.features.hop_length
    for name in (name for name in ("wavenet", "excited") if name in p.vocoders):
        v = getattr(p.vocoder, name)
        context = {"context_layers": v.context_layers} if name == "wavenet" else {}
        field = v.network(p.features.cqt_bins, hop, len(p.dataset.domains), **context).receptive_field()
        if v.crop_frames * hop < field:
            raise ValueError(
                f"vocoder.{name}.crop_frames: a crop of {v.crop_frames * hop} samples is shorter than the "
                f"WaveNet's receptive field of {field}, a part of which would never learn: use "
                f"{-(-field // hop)} or more, or fewer layers"
            )


def istft_has_overlap_and_a_middle(p: Params) -> None:
    """The windows of the inverse STFT overlap, and a crop is more than its ends."""
    v, hop = p.vocoder.istft, p.features.hop_length
    if "istft" not in p.vocoders:
        return
    # Three at a crop's ends (vocoders.istft.train), one for the loss.
    edges = 4 * max(1, round(0.064 * p.audio.sample_rate / hop))
    if v.n_fft < 2 * hop - 1:
        raise ValueError(f"vocoder.istft.n_fft must be at least twice features.hop_length ({2 * hop})")
    if v.crop_frames < edges:
        raise ValueError(
            f"vocoder.istft.crop_frames must be at least {edges}: a crop's ends are not trained on"
        )
    if p.vocoder.representation != "stft":
        for key in ("channels", "blocks"):
            if (own := getattr(v, key)) != (start := getattr(p.vocoder.inverter, key)):
                raise ValueError(
                    f"vocoder.istft.{key} is {own}, but the inverter that it starts from has {start}: "
                    "make them equal"
                )


def excited_segments_hold_a_crop(p: Params) -> None:
    """The excitation is heard beyond both ends of a crop."""
    least = p.vocoder.excited.least_segment_frames(p.features.hop_length)
    if "excited" in p.vocoders and p.vocoder.excited.segment_frames < least:
        raise ValueError(
            f"vocoder.excited.segment_frames must be at least {least}: crops of crop_frames are cut from them"
        )


def classifier_window_fits(p: Params) -> None:
    """A test piece holds a window of the classifier."""
    frames = int(p.dataset.excerpt_s * p.audio.sample_rate) // p.features.hop_length + 1
    if frames < p.classifier.window_frames:
        raise ValueError(
            f"classifier.window_frames must be at most the {frames} frames of dataset.excerpt_s, which "
            "it is tested on"
        )


def systems_are_known(p: Params) -> None:
    """Every name of ``systems`` is free and has its section, and there is code for it."""
    for name, kind in p.systems.items():
        if kind not in catalogue.names():
            raise ValueError(f"systems.{name} is {kind!r}: use some of {', '.join(catalogue.names())}")
        another = name in catalogue.names() and name != kind
        if another or name in (*Params.model_fields, *catalogue.NOT_SYSTEMS):
            raise ValueError(f"systems.{name} is {kind}, and {name} is something else: give it another name")
        if name in catalogue.DEFAULTS:
            raise ValueError(
                f"systems names {name}, which has a stage of its own and is always trained: remove it"
            )
        if not hasattr(p, catalogue.section_name(name)):
            raise ValueError(f"systems names {name}, which has no section here: add one, with its values")


def systems_fit_the_data(p: Params) -> None:
    """Generators write what the vocoders read; pairs are there for what learns from pairs."""
    for name in (*catalogue.DEFAULTS, *p.systems):
        section = catalogue.section_name(name)
        values = getattr(p, section)
        representation = getattr(values, "representation", p.vocoder.representation)
        if representation != p.vocoder.representation:
            raise ValueError(
                f"vocoder.representation must be the same as {section}.representation ({representation}): "
                "the vocoders read what the generators write"
            )
        if getattr(values, "lambda_content", 0) and p.features.cqt_bins_per_octave % 12:
            raise ValueError(
                f"{section}.lambda_content needs features.cqt_bins_per_octave to be a multiple of 12: "
                "set it to 0"
            )
        if values.needs_pairs and not p.dataset.paired_training:
            raise ValueError(
                f"systems names {name}, which learns from pairs: set dataset.paired_training to true"
            )


RULES = (
    constant_q_fits,
    vocoders_are_known,
    wavenet_crops_are_long_enough,
    istft_has_overlap_and_a_middle,
    excited_segments_hold_a_crop,
    classifier_window_fits,
    systems_are_known,
    systems_fit_the_data,
)


# ------------------------------------------------------------------------------------------- reading


def _sentence(error: ValidationError) -> str:
    """The first problem of a validation error as one sentence that names the key."""
    # A misspelt key is missing too: the one that should not be there is the better hint.
    problem = min(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place)
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind == "value_error":
        said = str(context["error"])
        if place and said.startswith(place[-1]):  # a field's validator, which names its key
            place.pop()
        return said if not place or said.startswith(f"{place[0]}.") else f"{'.'.join(place)}.{said}"
    if kind == "extra_forbidden":
        return f"{key} is not a parameter: remove it or correct its name"
    if kind == "missing":
        return f"{key} is missing: add it (`git show HEAD:params.yaml` has a complete file)"
    hint = ""
    if isinstance(given, str) and kind.endswith("_type"):
        hint = " (write exponents as 2.0e-4)" if given[:1].isdigit() else ""
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key} is {given!r}: {message}{hint}"


def parse(values: Any, origin: str = "params.yaml") -> Any:
    """Validate a mapping as read from YAML: :class:`Params` with the sections of the systems that it has.

    Raises RetimbreError with one sentence that names the key and what is allowed.
    """
    if not isinstance(values, dict):
        raise RetimbreError(f"{origin} must be a mapping of sections: seed, dataset, audio, ...")
    sections = catalogue.sections(values.get("systems"), Params.model_fields)
    required = {catalogue.section_name(name) for name in catalogue.DEFAULTS}
    there = {name: section for name, section in sections.items() if name in values or name in required}
    whole = create_model("Params", __base__=Params, **{name: (kind, ...) for name, kind in there.items()})
    try:
        found = whole.model_validate(values)
    except ValidationError as error:
        raise RetimbreError(f"{origin}: {_sentence(error)}.") from None
    for rule in RULES:
        try:
            rule(found)
        except ValueError as error:
            raise RetimbreError(f"{origin}: {error}.") from None
    return found


def read(path: str | Path = "params.yaml") -> Any:
    """Read and validate a whole params file. Raises RetimbreError (missing, broken, invalid)."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RetimbreError(
            f"{path} does not exist: run this in the repository's root, or restore it with `git "
            f"checkout {path}`."
        ) from None
    except UnicodeDecodeError:
        raise RetimbreError(f"{path} is not text in UTF-8: restore it with `git checkout {path}`.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise RetimbreError(
            f"{path} is not valid YAML{line}: correct it or restore it with `git checkout {path}`."
        ) from None
    return parse(values, str(path))


def load(*sections: str, path: str | Path = "params.yaml") -> SimpleNamespace:
    """The named sections of a validated params file, as attributes, and nothing else."""
    params = read(path)
    return SimpleNamespace(**{name: getattr(params, name) for name in sections})


def flatten(section: str, values: Section) -> dict[str, Any]:
    """``{"model.lambda_cycle": 4, ...}``: the names that people type after ``-S``."""
    return joined({section: values.model_dump()}, ".")


# Replaced, not joined.
WHOLE = "systems vocoders dataset.source dataset.folders dataset.youtube evaluate.vocoders".split()


def overlay(values: Any, changes: Any, place: str = "") -> Any:
    """``values`` with those of ``changes`` laid over it, section by section, in place.

    Profiles are such changes. Mappings whose keys the user makes up (``vocoders`` ...) are replaced as a
    whole.
    """
    for key, value in changes.items():
        name = f"{place}{key}"
        if isinstance(value, dict) and isinstance(values.get(key), dict) and name not in WHOLE:
            overlay(values[key], value, f"{name}.")
        else:
            values[key] = value
    return values
