"""Levels and instrument to samples: the conditional WaveNet, TimbreTron's own vocoder.

It predicts codes of pre-emphasised audio, one sample at a time, and needs a long training. TimbreTron's two tricks are switches: time may
run backwards (``wavenet_codec``), and several continuations may be tried and the one kept whose levels are nearest (``wavenet_beams``).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.nn.generation import long
from retimbre.nn.generation.beam import beam_search
from retimbre.nn.generation.sampler import State, forced_logits, generate
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig, shift_right
from retimbre.vocoders.base import Part, Request, Training
from retimbre.vocoders.steps import likelihoods
from retimbre.vocoders.wavenet.beams import LevelCost
from retimbre.vocoders.wavenet.codec import Codec, backwards_levels, decode_audio, encode_audio, forwards
from retimbre.vocoders.wavenet.train import fit_wavenet

__all__ = ["WaveNetVocoder", "decode_audio", "encode_audio", "fit_wavenet"]

SETTINGS = ("preemphasis", "gain", "temperature", "reverse", "beams", "beam_step")  # of sampling, kept with the weights


class WaveNetVocoder(Part):
    """Audio sampled from the conditional WaveNet."""

    name = "wavenet"

    def __init__(self, network: nn.Module | None, config: dict[str, Any], parts: Mapping[str, Part]):
        super().__init__(network, config, parts)
        self.codec = Codec.of(config)

    @classmethod
    def build(cls, config: dict[str, Any]) -> nn.Module:
        return WaveNet(WaveNetConfig(**config["wavenet"]))

    @classmethod
    def fit(cls, training: Training, parts: Mapping[str, Part]) -> tuple[nn.Module, dict[str, Any], list[dict[str, float]]]:
        p = training.params
        network, curves = fit_wavenet(training.audio, training.features, p, training.seed, training.scratch, training.run)
        settings = {f"wavenet_{name}": getattr(p, f"wavenet_{name}") for name in SETTINGS}
        return network.cpu(), {"wavenet": network.config.to_dict(), **settings}, curves

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

        ``before`` (M,): the first M samples as they were made already. Sampling goes on where they end; backwards it ends where they begin,
        and the two are joined at a place near their end where they are most alike. ``temperature``, ``beams`` and ``beam_step``: else those
        that the vocoder was trained with.
        """
        temperature = self.config["wavenet_temperature"] if temperature is None else temperature
        beams = self.config.get("wavenet_beams", 1) if beams is None else beams
        beam_step = self.config.get("wavenet_beam_step", 1024) if beam_step is None else beam_step
        levels, index = self.clipped(level_db)[0], self.domains.index(domain)
        if not self.codec.reverse:
            made = None if before is None or not len(before) else self.codec.encode(before[:length])
            return self.codec.decode(self._codes(levels, index, length, seed, temperature, made, beams, beam_step))
        levels = backwards_levels(levels)
        samples = (levels.shape[-1] - 1) * self.features.hop_length + 1
        drawn = self.codec.decode(self._codes(levels, index, samples, seed, temperature, None, beams, beam_step))
        audio = np.ascontiguousarray(forwards(drawn, length))
        return audio if before is None else self._joined(before, audio)

    def _codes(
        self, levels: Tensor, domain: int, length: int, seed: int, temperature: float, made: np.ndarray | None, beams: int, beam_step: int
    ) -> np.ndarray:
        """Codes (length,) in the network's direction from levels (F, T), clipped; the first ones may be given."""
        if beams > 1:
            cost = LevelCost(self.features, self.representation, levels.numpy(), self.top_db, self.codec.decode)
            return beam_search(self.network, levels, domain, length, cost, beams, beam_step, temperature, seed, made)
        made = np.zeros(0, np.int64) if made is None else made
        state = State(self.network, 1, seed)
        if len(made):
            forced_logits(self.network, levels[None], domain, made[None], state=state)  # brings the state to where `made` ends
        if length == len(made):
            return made
        drawn = generate(self.network, levels[None], domain, length - len(made), temperature, state=state)[0]
        return np.concatenate([made, drawn.astype(np.int64)])

    def _joined(self, before: np.ndarray, audio: np.ndarray) -> np.ndarray:
        """``before`` goes over into ``audio``, both from sample 0, at its end but for the warm-up with which it began.

        Nothing is joined where ``before`` is too short: what comes next cross-fades anyway.
        """
        stop = min(len(before), len(audio)) - long.warm_up_frames(self.network.config) * self.features.hop_length
        first = max(stop - long.SEARCH, len(before) // 2)
        if stop - first < long.FADE:
            return audio
        at, faded = long.crossing(before[first:stop].astype(np.float32), audio[first:stop])
        cut = first + at
        return np.concatenate([before[:cut], faded, audio[cut + long.FADE :]]).astype(np.float32)

    @torch.no_grad()
    def nll_bits(
        self, audio: np.ndarray, level_db: np.ndarray, domain: str, own_db: np.ndarray, heard_db: np.ndarray | None = None
    ) -> float:
        codes, levels = self.codec.example(audio, self.clipped(level_db)[0])
        index, silence = torch.tensor([self.domains.index(domain)]), self.network.config.silence
        outputs = self.network(shift_right(codes[None], silence), levels[None], index)
        return likelihoods(self.network, outputs, codes[None])[1].item() / math.log(2)

    def synthesise(self, wanted: Request) -> np.ndarray:
        return self.wavenet(wanted.level_db, wanted.domain, wanted.length, wanted.seed, before=wanted.before)
