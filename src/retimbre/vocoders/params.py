"""Sections ``vocoder``, the training of the networks from spectra to audio, and ``rendering``, their use."""

from typing import Annotated, Literal

from pydantic import Field

from retimbre.section import Natural, Positive, Representation, Section
from retimbre.vocoders.excited.params import Params as Excited
from retimbre.vocoders.inverter.params import Params as Inverter
from retimbre.vocoders.istft.params import Params as Istft
from retimbre.vocoders.wavenet.params import Params as WaveNet

# Those of vocoders.kinds (a test compares).
Kind = Literal["source_phase", "griffin_lim", "istft", "wavenet", "wavenet_excited"]


class Vocoder(Section):
    """One section per network: each is a training of its own and depends on its own section alone."""

    representation: Representation
    inverter: Inverter
    istft: Istft
    wavenet: WaveNet
    excited: Excited


class GriffinLim(Section):
    iterations: Natural = 4
    low_band_hops: Annotated[float, Field(ge=0)] = 2.5
    low_band_iterations: Natural = 8


class Sampling(Section):
    """Drawing of the WaveNet's samples."""

    temperature: Positive = 0.7
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    beam_step: Annotated[int, Field(ge=16)] = 1024


class Residual(Section):
    """Drawing of what the excited WaveNet adds."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0
    share: Annotated[float, Field(gt=0, le=1)] = 0.25


class Rendering(Section):
    """Use of what is trained, from spectra to audio; no training depends on it.

    The defaults are those of ``params.yaml``: trained models are used without a project too.
    """

    vocoder: Kind = "griffin_lim"
    griffin_lim: GriffinLim = GriffinLim()
    wavenet: Sampling = Sampling()
    wavenet_excited: Residual = Residual()
