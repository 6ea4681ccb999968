"""Spectrum and instrument to samples: the conditional WaveNet, TimbreTron's own vocoder.

It predicts codes of pre-emphasised audio, one sample at a time, and needs a long training. TimbreTron's two
tricks are switches: time may run backwards (``codec``), and several continuations may be tried and the one
kept whose levels are nearest (``beams``).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.nn.generation.beam import beam_search
from retimbre.nn.generation.sampler import State, forced_logits, generate
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig, likelihoods, shift_right
from retimbre.vocoders.base import Renderer, Request
from retimbre.vocoders.params import Rendering, Sampling
from retimbre.vocoders.wavenet.beams import LevelCost
from retimbre.vocoders.wavenet.codec import Codec, backwards_levels, forwards
from retimbre.vocoders.wavenet.joining import FADE, SEARCH, crossing, warm_up_frames


class WaveNetVocoder(Renderer):
    """Audio sampled from the conditional WaveNet."""

    name = "wavenet"

    def __init__(
        self,
        network: nn.Module | None,
        config: dict[str, Any],
        below: Mapping[str, Renderer],
        rendering: Rendering = Rendering(),  # noqa: B008 (frozen)
    ):
        super().__init__(network, config, below, rendering)
        self.codec = Codec.of(config)

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return WaveNet(WaveNetConfig(**config["wavenet"]))

    @classmethod
    def settings_of(cls, rendering: Rendering) -> Sampling:
        return rendering.wavenet

    def wavenet(
        self,
        level_db: np.ndarray,
        domain: str,
        length: int,
        seed: int = 0,
        temperature: float | None = None,
        before: np.ndarray | None = None,
        beams: int | None = None,
        beam_step: int | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples, sampled; the same seed gives the same samples.

        ``before`` (M,): the first M samples as they were made already. Sampling goes on where they end;
        backwards it ends where they begin, and the two are joined at a place near their end where they are
        most alike. ``temperature``, ``beams`` and ``beam_step``: else those of the params.
        """
        temperature = self.settings.temperature if temperature is None else temperature
        beams = self.settings.beams if beams is None else beams
        beam_step = self.settings.beam_step if beam_step is None else beam_step
        levels, index = self.clipped(level_db)[0], self.domains.index(domain)
        if not self.codec.reverse:
            made = None if before is None or not len(before) else self.codec.encode(before[:length])
            codes = self._codes(levels, index, length, seed, temperature, made, beams, beam_step)
            return self.codec.decode(codes)
        levels = backwards_levels(levels)
        samples = (levels.shape[-1] - 1) * self.features.hop_length + 1
        codes = self._codes(levels, index, samples, seed, temperature, None, beams, beam_step)
        audio = np.ascontiguousarray(forwards(self.codec.decode(codes), length))
        return audio if before is None else self._joined(before, audio)

    def _codes(
        self,
        levels: Tensor,
        domain: int,
        length: int,
        seed: int,
        temperature: float,
        made: np.ndarray | None,
        beams: int,
        beam_step: int,
    ) -> np.ndarray:
        """Codes (length,) in the network's direction from clipped levels (F, T), the first ``made``."""
        if beams > 1:
            wanted = (self.features, self.representation, levels.numpy(), self.top_db)
            how = (LevelCost(*wanted, self.codec.decode), beams, beam_step, temperature, seed, made)
            return beam_search(self.network, levels, domain, length, *how)
        made = np.zeros(0, np.int64) if made is None else made
        state = State(self.network, 1, seed)
        if len(made):  # brings the state to where `made` ends
            forced_logits(self.network, levels[None], domain, made[None], state=state)
        if length == len(made):
            return made
        drawn = generate(self.network, levels[None], domain, length - len(made), temperature, state=state)[0]
        return np.concatenate([made, drawn.astype(np.int64)])

    def _joined(self, before: np.ndarray, audio: np.ndarray) -> np.ndarray:
        """``before`` going over into ``audio``, both from sample 0, near its end but before its warm-up.

        Nothing is joined where ``before`` is too short: what comes next cross-fades anyway.
        """
        stop = min(len(before), len(audio)) - warm_up_frames(self.network.config) * self.features.hop_length
        first = max(stop - SEARCH, len(before) // 2)
        if stop - first < FADE:
            return audio
        at, faded = crossing(before[first:stop].astype(np.float32), audio[first:stop])
        cut = first + at
        return np.concatenate([before[:cut], faded, audio[cut + FADE :]]).astype(np.float32)

    @torch.no_grad()
    def nll_bits(
        self,
        audio: np.ndarray,
        level_db: np.ndarray,
        domain: str,
        own_db: np.ndarray,
        heard_db: np.ndarray | None = None,
    ) -> float:
        codes, levels = self.codec.example(audio, self.clipped(level_db)[0])
        index, silence = torch.tensor([self.domains.index(domain)]), self.network.config.silence
        outputs = self.network(shift_right(codes[None], silence), levels[None], index)
        return likelihoods(self.network, outputs, codes[None])[1].item() / math.log(2)

    def synthesise(self, wanted: Request) -> np.ndarray:
        return self.wavenet(
            wanted.spectrum_db, wanted.domain, wanted.length, wanted.seed, before=wanted.before
        )
