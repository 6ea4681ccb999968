"""Training of the WaveNet vocoder: crops that can be heard, the network of the params, its loop."""

import numpy as np
import torch

from retimbre.audio.features import FeatureConfig
from retimbre.datasets.packed.crops import AudioFeatureCrops
from retimbre.datasets.packed.format import PackedAudio, PackedFeatures
from retimbre.nn.wavenet.network import CODES, WaveNet, WaveNetConfig
from retimbre.params import Vocoder as VocoderParams
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch
from retimbre.training.devices import compiled, make_fabric
from retimbre.training.fit import Loop
from retimbre.training.processes import check_batch
from retimbre.vocoders.steps import WaveNetTrainer
from retimbre.vocoders.wavenet.codec import Codec, backwards, encode_audio

CROP = "vocoder.wavenet_crop_frames"
REDRAWS = 8  # tries to replace a silent crop; after them it stays, so that a silent data set can be trained on too
ANOTHER = 1 << 40  # steps between the batches that replacements are taken from: no training is that long


def audible_batch(crops: AudioFeatureCrops, step: int, silence_db: float) -> dict[str, torch.Tensor]:
    """Batch number ``step``; crops whose level (root mean square, dB of full scale) is below ``silence_db`` are drawn again.

    It depends on the step alone. Digital silence counts as -200 dB.
    """
    batch = crops.batch(step)
    for again in range(1, REDRAWS + 1):
        level_db = 20 * batch["audio"].square().mean(-1).sqrt().clamp(min=1e-10).log10()
        silent = level_db.double() < silence_db - 1e-3  # -200 dB, the least that a crop can have, excludes none
        if not silent.any():
            break
        other = crops.batch(step + again * ANOTHER)
        batch = {name: torch.where(silent.view(-1, *[1] * (x.dim() - 1)), other[name], x) for name, x in batch.items()}
    return batch


def shape_of(features: PackedFeatures, p: VocoderParams, **choices: str | int) -> WaveNetConfig:
    """The sizes that every WaveNet of the params has, and ``choices``."""
    return WaveNetConfig(
        feature_bins=features.config.bins(p.representation),
        hop_length=features.config.hop_length,
        n_domains=len(features.domains),
        layers=p.wavenet_layers,
        layers_per_stack=p.wavenet_layers_per_stack,
        kernel=p.wavenet_kernel,
        residual_channels=p.wavenet_residual_channels,
        skip_channels=p.wavenet_skip_channels,
        conditioning_channels=p.wavenet_conditioning_channels,
        upsampling=p.wavenet_upsampling,
        **choices,
    )


def mean_and_std(features: PackedFeatures, representation: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the levels in dB, (F,) each: means over the domains."""
    of_domains = (features.statistics[representation][name] for name in ("mean_db", "std_db"))
    mean, std = (torch.tensor([values[d] for d in features.domains]).mean(0) for values in of_domains)
    return mean, std


def fit_wavenet(
    audio: PackedAudio, features: PackedFeatures, p: VocoderParams, seed: int, scratch: Scratch, run: StageRun
) -> tuple[WaveNet, list[dict[str, float]]]:
    """Train on every domain's training split: samples given the levels and the domain."""
    fabric = make_fabric(p.accelerator, p.devices, p.precision, p.nodes)
    check_batch(p.wavenet_batch_size, fabric, "vocoder.wavenet_batch_size")
    config: FeatureConfig = features.config
    statistics = features.statistics[p.representation]
    size = p.wavenet_crop_frames, p.wavenet_batch_size
    crops = AudioFeatureCrops(audio, features, [p.representation], features.domains, "train", *size, seed, 40, CROP)

    codec = Codec(p.wavenet_preemphasis, p.wavenet_gain, p.wavenet_output == "mol", p.wavenet_reverse)
    low_db = statistics["top_db"] - config.range_db

    def draw(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = audible_batch(crops, step, p.wavenet_silence_db)
        codes, level_db = codec.example(batch["audio"].numpy(), batch[p.representation].clamp(low_db, statistics["top_db"]))
        return codes, level_db, batch["domain"]

    # The output starts as the codes' overall distribution, counted on crops that are not trained on yet.
    counted = [crops.batch(step)["audio"].numpy() for step in range(p.wavenet_steps, p.wavenet_steps + 32)]
    codes = [encode_audio(backwards(x) if p.wavenet_reverse else x, p.wavenet_preemphasis, p.wavenet_gain).ravel() for x in counted]
    histogram = torch.from_numpy(np.bincount(np.concatenate(codes), minlength=CODES))
    torch.manual_seed(seed)
    names = ("input", "output", "mixtures", "context_layers", "context_channels")
    shape = shape_of(features, p, **{name: getattr(p, f"wavenet_{name}") for name in names})
    network = WaveNet(shape, *mean_and_std(features, p.representation), histogram)
    trainer = WaveNetTrainer(network, p.wavenet_steps, p.wavenet_learning_rate, fabric, p.wavenet_ema_decay)
    states = trainer.state_dict, trainer.load_state_dict
    loop = Loop("wavenet", p.wavenet_steps, scratch, run, *states, None, p.log_every, p.checkpoint_every, fabric=fabric)
    batch = loop.ahead(draw)
    with compiled(p.compile, network):
        for step in loop:
            loop.add(trainer.step(*batch(step), step))
    return trainer.result, loop.curves()
