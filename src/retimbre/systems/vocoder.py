"""Levels of a representation (log-CQT, log-mel) to audio.

Two trained parts, one file each in ``data/models/vocoder``: the spectral inverter (levels to STFT
magnitudes) and the conditional WaveNet (levels and domain to samples). Three routes to audio:

- ``source_phase``: the inverter's magnitudes on the phases of the source recording. Cheap and
  clean, but it inherits the source's notes and timing, which must not be credited to a generator.
- ``griffin_lim``: the inverter's magnitudes, phases by SPSI and fast Griffin-Lim. Needs no source.
- ``wavenet``: sampled, one sample at a time. The faithful route of TimbreTron; needs a long training.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from retimbre.audio.companding import deemphasis, mu_law_decode, mu_law_encode, preemphasis
from retimbre.audio.features import FeatureConfig, magnitude, normalise
from retimbre.audio.spectral import griffin_lim, istft, spsi_phase, stft
from retimbre.datasets.crops import AudioFeatureCrops, FeatureCrops
from retimbre.datasets.packed import PackedAudio, PackedFeatures
from retimbre.errors import RetimbreError
from retimbre.models.generation.sampler import State, forced_logits, generate
from retimbre.models.inverter import InverterConfig, SpectralInverter
from retimbre.models.storage import reading, save_weights
from retimbre.models.wavenet import WaveNet, WaveNetConfig
from retimbre.params import Vocoder as VocoderParams
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import make_fabric
from retimbre.training.loop import Loop
from retimbre.training.vocoder import InverterTrainer, WaveNetTrainer

ROUTES = ("source_phase", "griffin_lim", "wavenet")


def encode_audio(x: np.ndarray, coefficient: float, gain: float) -> np.ndarray:
    """Audio (..., N) to the codes that the WaveNet predicts: pre-emphasis, gain, 8-bit mu-law."""
    return mu_law_encode(gain * preemphasis(x, coefficient))


def decode_audio(codes: np.ndarray, coefficient: float, gain: float) -> np.ndarray:
    """The inverse of ``encode_audio``, up to the quantiser."""
    return deemphasis(mu_law_decode(codes) / gain, coefficient).astype(np.float32)


class Vocoder:
    """The trained inverter and WaveNet with all that is needed to use them."""

    def __init__(self, inverter: SpectralInverter, wavenet: WaveNet, config: dict[str, Any]):
        self.inverter, self.wavenet_model, self.config = inverter.eval(), wavenet.eval(), config
        self.features = FeatureConfig.from_dict(config["features"])
        self.representation: str = config["representation"]
        self.domains: list[str] = config["domains"]
        self.top_db: float = config["top_db"]
        self.device = next(inverter.parameters()).device

    def _normalised(self, level_db: np.ndarray) -> torch.Tensor:
        z = normalise(torch.from_numpy(np.ascontiguousarray(level_db, np.float32)), self.top_db, self.features.range_db)
        return z[None].to(self.device)  # (1, F, T)

    @torch.no_grad()
    def stft_magnitude(self, level_db: np.ndarray) -> torch.Tensor:
        """Levels (F, T) in dB to STFT magnitudes (1, K, T)."""
        return magnitude(self.inverter(self._normalised(level_db)))

    @torch.no_grad()
    def source_phase(self, level_db: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Audio (N,) from levels (F, T) and the source recording (N,), T = N // hop + 1."""
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        phase = torch.angle(stft(torch.from_numpy(np.ascontiguousarray(source, np.float32))[None].to(self.device), n_fft, hop))
        return istft(torch.polar(self.stft_magnitude(level_db), phase), n_fft, hop, len(source))[0].cpu().numpy()

    @torch.no_grad()
    def griffin_lim(self, level_db: np.ndarray, length: int, iterations: int | None = None, before: np.ndarray | None = None) -> np.ndarray:
        """Audio (N,) of ``length`` samples from levels (F, T) alone.

        ``before`` (M,): the first M samples as they were made already, whose phases are continued.
        """
        n_fft, hop = self.features.stft_n_fft, self.features.hop_length
        spectrum = self.stft_magnitude(level_db)
        known = None
        if before is not None and (frames := (len(before) - n_fft // 2) // hop) > 0:  # whole windows only
            known = np.angle(stft(torch.from_numpy(np.ascontiguousarray(before))[None], n_fft, hop)[0, :, :frames].numpy())
        phase = spsi_phase(spectrum[0].cpu().numpy(), n_fft, hop, known)
        phase = torch.from_numpy(phase).to(self.device, torch.float32)[None]
        iterations = self.config["griffin_lim_iterations"] if iterations is None else iterations
        return griffin_lim(spectrum, n_fft, hop, length, iterations, initial_phase=phase)[0].cpu().numpy()

    def wavenet(
        self,
        level_db: np.ndarray,
        domain: str,
        length: int,
        seed: int = 0,
        temperature: float | None = None,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) of ``length`` samples, sampled; the same seed gives the same samples.

        ``before`` (M,): the first M samples as they were made already; sampling goes on where they end.
        """
        temperature = self.config["wavenet_temperature"] if temperature is None else temperature
        index = torch.tensor([self.domains.index(domain)])
        clipped = torch.from_numpy(np.ascontiguousarray(level_db, np.float32)).clamp(self.top_db - self.features.range_db, self.top_db)
        state = State(self.wavenet_model, 1, seed)
        made = np.zeros((1, 0), np.int64)
        if before is not None and len(before):
            made = encode_audio(before[:length], self.config["wavenet_preemphasis"], self.config["wavenet_gain"])[None]
            forced_logits(self.wavenet_model, clipped[None], index, made, state=state)  # brings the state to where `before` ends
        codes = made[0]
        if length > len(codes):
            drawn = generate(self.wavenet_model, clipped[None], index, length - len(codes), temperature, state=state)
            codes = np.concatenate([codes, np.asarray(drawn[0], np.int64)])
        return decode_audio(codes, self.config["wavenet_preemphasis"], self.config["wavenet_gain"])

    def synthesise(
        self,
        route: str,
        level_db: np.ndarray,
        length: int,
        domain: str,
        source: np.ndarray | None = None,
        seed: int = 0,
        before: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio (N,) by one of ``ROUTES``; ``source`` is needed by ``source_phase``; ``before`` as in ``griffin_lim``."""
        if route == "source_phase":
            if source is None:
                raise RetimbreError("the route source_phase needs the source recording: choose griffin_lim or wavenet without one.")
            return self.source_phase(level_db, source)
        if route == "griffin_lim":
            return self.griffin_lim(level_db, length, before=before)
        if route == "wavenet":
            return self.wavenet(level_db, domain, length, seed, before=before)
        raise RetimbreError(f"{route!r} is not a vocoder route: choose {', '.join(ROUTES)}.")

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, network in (("inverter", self.inverter), ("wavenet", self.wavenet_model)):
            save_weights(folder / f"{name}.safetensors", network)
        (folder / "config.json").write_text(json.dumps(self.config, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Vocoder":
        """Read what ``save`` wrote. Raises RetimbreError when it is not there."""
        folder = Path(folder)
        with reading(folder, "vocoder", "vocoder"):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            inverter, wavenet = SpectralInverter(InverterConfig(**config["inverter"])), WaveNet(WaveNetConfig(**config["wavenet"]))
            inverter.load_state_dict(load_file(folder / "inverter.safetensors"))
            wavenet.load_state_dict(load_file(folder / "wavenet.safetensors"))
            return cls(inverter, wavenet, config)


def fit_inverter(
    features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[SpectralInverter, list[dict[str, float]]]:
    """Train on every domain's training split: levels of ``p.representation`` to STFT levels."""
    fabric = make_fabric(p.accelerator, 1, p.precision)
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    domains = features.domains
    torch.manual_seed(seed)
    network = SpectralInverter(InverterConfig(config.bins(p.representation), config.stft_n_fft, p.inverter_channels, p.inverter_blocks))
    trainer = InverterTrainer(network, p.inverter_steps, p.inverter_learning_rate, fabric, statistics["top_db"], config.range_db, seed)
    share = max(1, p.inverter_batch_size // len(domains))
    # The same seed and stream draw the same places, so that the two batches show the same audio.
    pairs = [
        [FeatureCrops(features, r, d, "train", p.inverter_crop_frames, share, seed, 30 + i) for r in (p.representation, "stft")]
        for i, d in enumerate(domains)
    ]
    loop = Loop(
        "inverter", p.inverter_steps, scratch, run, trainer.state_dict, trainer.load_state_dict, None, p.log_every, p.checkpoint_every
    )

    def draw(step: int) -> list[torch.Tensor]:
        return [torch.cat(batches) for batches in zip(*[[crops.batch(step) for crops in pair] for pair in pairs], strict=True)]

    batch = loop.ahead(draw)
    for step in loop:
        loop.add(trainer.step(*batch(step), step))
    return network, loop.curves()


def fit_wavenet(
    audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[WaveNet, list[dict[str, float]]]:
    """Train on every domain's training split: samples given the levels and the domain."""
    fabric = make_fabric(p.accelerator, 1, p.precision)
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    domains = features.domains
    crops = AudioFeatureCrops(audio, features, [p.representation], domains, "train", p.wavenet_crop_frames, p.wavenet_batch_size, seed, 40)

    def codes_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.from_numpy(encode_audio(batch["audio"].numpy(), p.wavenet_preemphasis, p.wavenet_gain).astype(np.int64))

    # The output starts as the codes' overall distribution, counted on crops that are not trained on yet.
    histogram = torch.bincount(
        torch.cat([codes_of(crops.batch(step)).flatten() for step in range(p.wavenet_steps, p.wavenet_steps + 32)]), minlength=256
    )
    torch.manual_seed(seed)
    network = WaveNet(
        WaveNetConfig(
            feature_bins=config.bins(p.representation),
            hop_length=config.hop_length,
            n_domains=len(domains),
            layers=p.wavenet_layers,
            layers_per_stack=p.wavenet_layers_per_stack,
            kernel=p.wavenet_kernel,
            residual_channels=p.wavenet_residual_channels,
            skip_channels=p.wavenet_skip_channels,
            conditioning_channels=p.wavenet_conditioning_channels,
        ),
        torch.tensor([statistics["mean_db"][d] for d in domains]).mean(0),
        torch.tensor([statistics["std_db"][d] for d in domains]).mean(0),
        histogram,
    )
    trainer = WaveNetTrainer(network, p.wavenet_steps, p.wavenet_learning_rate, fabric)
    loop = Loop(
        "wavenet", p.wavenet_steps, scratch, run, trainer.state_dict, trainer.load_state_dict, None, p.log_every, p.checkpoint_every
    )

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = crops.batch(step)
        level_db = batch[p.representation].clamp(statistics["top_db"] - config.range_db, statistics["top_db"])
        return codes_of(batch), level_db, batch["domain"]

    batch = loop.ahead(draw)
    for step in loop:
        loop.add(trainer.step(*batch(step), step))
    return network, loop.curves()


def fit(
    audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[Vocoder, list[dict[str, float]], list[dict[str, float]]]:
    """Train inverter and WaveNet; returns them with their two histories."""
    inverter, inverter_curves = fit_inverter(features, p, seed, scratch, run)
    wavenet, wavenet_curves = fit_wavenet(audio, features, p, seed, scratch, run)
    statistics = features.statistics[p.representation]
    config = {
        "domains": features.domains,
        "rms": audio.config["rms"],
        "representation": p.representation,
        "features": features.config.to_dict(),
        "top_db": statistics["top_db"],
        "inverter": inverter.config.to_dict(),
        "wavenet": wavenet.config.to_dict(),
        "griffin_lim_iterations": p.griffin_lim_iterations,
        "wavenet_preemphasis": p.wavenet_preemphasis,
        "wavenet_gain": p.wavenet_gain,
        "wavenet_temperature": p.wavenet_temperature,
    }
    return Vocoder(inverter.cpu(), wavenet.cpu(), config), inverter_curves, wavenet_curves
