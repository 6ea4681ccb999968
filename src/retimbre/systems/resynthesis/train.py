"""Training: on recordings of the targets, then, round after round, on what back-translation makes of them.

1. The content network learns each instrument's spectrum from what is heard of its own recordings.
2. Rounds of back-translation close the gap between instruments: a transcriber hears each otherwise.
3. The spectrum network learns from such renderings, whose spectra stand for another instrument's.
4. Both together learn to make their mean right, from content as it is heard but for its sustain.

With ``start_from`` the networks are those of shipped weights as they begin, and these render.

Every phase is a loop with checkpoints of its own; renderings are made anew when a training is continued.
"""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from retimbre.datasets.packed.data import Data
from retimbre.nn.transcriber.content import CHANNELS
from retimbre.nn.weights import check_features, shipped_folder
from retimbre.systems.resynthesis.code import notes_heard, range_of
from retimbre.systems.resynthesis.material import Batch, Crops, Material
from retimbre.systems.resynthesis.muon import Muon
from retimbre.systems.resynthesis.network import Experts, NetworkConfig, spectral_loss
from retimbre.systems.resynthesis.params import Params
from retimbre.systems.resynthesis.system import Change
from retimbre.training.averages import Ema
from retimbre.training.fit import History, Run, steps_done
from retimbre.training.fit import fit as fit_phase
from retimbre.training.processes import average_gradients, check_batch, own_share
from retimbre.training.timing import part
from retimbre.training.trainer import OneNetwork, linear_rate
from retimbre.vocoders.catalogue import Vocoders

VOCODERS = Path("data/models/vocoder")
FALL_FROM = 0.6  # of a trainer's steps, after which its rate falls linearly to 2 %
PER_INSTRUMENT = ("instruments.weight", "offset.weight")  # a row for each
JOINT_RATE = 0.6  # of the learning rate, for networks that are trained already
Hears = Literal["content", "spectrum", "both"]


class Trainer(OneNetwork):
    """Muon on a copy of the network that ``hears`` content or spectra (both: all), and its average.

    ``steps``: of all phases that it trains in.
    """

    def __init__(self, change: Change, hears: Hears, steps: int, rate: float, p: Params, run: Run):
        self.kept: nn.Module = change.networks if hears == "both" else getattr(change.networks, hears)
        network = copy.deepcopy(self.kept).to(run.fabric.device).train().requires_grad_(True)
        super().__init__(network, Muon(network.parameters(), rate))
        self.hears, self.steps, self.rate, self.p, self.run = hears, steps, rate, p, run
        self.range_db = change.features.range_db
        self.ema = Ema(network, p.ema_decay)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one step, each weighted, by name."""
        p, target = self.p, batch.target
        if self.hears != "both":
            y = self.network(batch.content if self.hears == "content" else batch.spectrum, batch.instrument)
            lsd, linear = spectral_loss(y.float(), target, self.range_db)
            return {"lsd": lsd, "linear": p.lambda_linear * linear}
        ways = self.network.each(batch.content, batch.spectrum, batch.instrument)
        lsd, linear = spectral_loss(self.network.mixed(*ways).float(), target, self.range_db)
        alone = sum((y.float() - target).abs().mean() for y in ways)
        return {"lsd": lsd, "linear": p.lambda_linear * linear, "alone": p.lambda_alone * alone}

    def step(self, *batch_and_number: Any) -> dict[str, Tensor]:
        """One step on a whole :class:`Batch`, of which each process takes its share; then its number."""
        *tensors, step = batch_and_number
        fabric = self.run.fabric
        batch = Batch(*(own_share(fabric, x).to(fabric.device) for x in tensors))
        self.optimiser.param_groups[0]["lr"] = self.rate * linear_rate(step / self.steps, FALL_FROM)
        with part("forward"), fabric.autocast():
            losses = self.losses(batch)
        with part("backward"):
            self.optimiser.zero_grad(set_to_none=True)
            fabric.backward(sum(losses.values()))
            average_gradients(fabric, self.network.parameters())
        with part("optimiser"):
            self.optimiser.step()
            self.ema.update(self.network, step)
        return {f"{self.hears}/{name}": value.detach() for name, value in losses.items()}

    def keep(self) -> None:
        """Put the averaged weights into the change's own network."""
        self.kept.load_state_dict(self.ema.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"ema": self.ema.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ema.module.load_state_dict(state["ema"])
        super().load_state_dict({name: value for name, value in state.items() if name != "ema"})


class Training:
    """Networks as they are trained so far, ``change``, and the phases that train them."""

    def __init__(self, data: Data, p: Params, run: Run):
        self.p, self.run, self.history = p, run, History()
        c, domains = data.features.config, data.features.domains
        size = (c.bins(p.representation), len(domains), p.channels, p.blocks, p.embedding)
        spectrum = NetworkConfig(size[0], *size, residual=True) if p.spectrum_steps else None
        torch.manual_seed(run.seed)
        networks = Experts(NetworkConfig(CHANNELS, *size), spectrum, share=0.0)  # until it is trained
        config = {
            "domains": domains,
            "representation": p.representation,
            "features": c.to_dict(),
            "top_db": data.features.statistics[p.representation]["top_db"],
            "ranges": {domain: ranges(data, domain) for domain in domains},
        }
        self.change = renders = Change(networks, config)
        vocoder = Vocoders.load(VOCODERS, wanted=["inverter"]).by("griffin_lim")
        material = partial(
            Material, data, vocoder=vocoder, minutes=p.back_minutes, machine=run.machine, seed=run.seed
        )
        if p.start_from:
            renders = started_from(p.start_from, self.change)
            crops = Crops(material(renders), p, 0, share=0.0)
            batches = [crops.batch(n) for n in range(len(domains))]  # together they have every instrument
            likes = [closest(renders, batches, place) for place in range(len(domains))]
            networks = of_instruments(renders.networks, likes, bool(p.spectrum_steps))
            self.change = Change(networks, config | {"top_db": renders.top_db})
            said = ", ".join(f"{d} as {renders.targets[i]}" for d, i in zip(domains, likes, strict=True))
            print(f"the training goes on from {p.start_from}: {said}", flush=True)
        self.material = material(renders)

    def rounds(self, hears: Hears, steps: list[int], rate: float, first: int, vary: bool) -> None:
        """Train in phases of so many steps, under one schedule, the network that ``hears`` this.

        Phases are numbered from ``first`` on; 0 is of recordings alone, others begin with a
        back-translation by the networks as they are by then. ``vary``: levels and pitch are made to vary.
        """
        trainer, before = Trainer(self.change, hears, sum(steps), rate, self.p, self.run), 0
        for number, count in enumerate(steps, first):
            name = f"{hears} {number}"
            if number and steps_done(name, self.run) < count:  # a finished phase draws no crops
                self.material.back_translate(number)
            share = (self.p.back_share if hears == "content" else 1.0) if number else 0.0
            crops = Crops(self.material, self.p, number, share, vary)
            rows = fit_phase(
                name, count, trainer, crops.batch, self.run,
                step=lambda batch, step, before=before: trainer.step(*batch, before + step),
            )  # fmt: skip
            start = self.history[-1]["step"] if self.history else 0
            self.history += [{**row, "step": start + row["step"]} for row in rows]
            before += count
            trainer.keep()


def started_from(name: str, own: Change) -> Change:
    """The shipped system that the training goes on from; RetimbreError unless it knows the features."""
    parameter = "resynthesis.start_from"
    start = Change.load(shipped_folder(name, parameter) / "resynthesis")
    check_features(*((x.features, x.representation) for x in (own, start)), name, parameter)
    return start


@torch.no_grad()
def closest(start: Change, batches: Sequence[Batch], place: int) -> int:
    """The instrument of ``start`` whose spectra are nearest to the recordings of the domain ``place``."""
    every = Batch(*map(torch.cat, zip(*batches, strict=True)))
    own = every.instrument == place
    content, target = every.content[own], every.target[own]
    made = (
        start.networks.content(content, torch.full((len(content),), i)) for i in range(len(start.targets))
    )
    return int(np.argmin([(y - target).abs().mean() for y in made]))


def of_instruments(networks: Experts, places: list[int], spectrum: bool) -> Experts:
    """Networks that know the instruments at ``places`` of others alone, ``spectrum`` or not; share 0."""
    shapes = networks.to_dict() | {"share": 0.0}
    kept = {n: shapes[n] and shapes[n] | {"instruments": len(places)} for n in ("content", "spectrum")}
    found = Experts.from_dict(shapes | kept | ({} if spectrum else {"spectrum": None}))
    state = {n: x[places] if n.endswith(PER_INSTRUMENT) else x for n, x in networks.state_dict().items()}
    found.load_state_dict({name: state[name] for name in found.state_dict()})
    return found


def ranges(data: Data, domain: str) -> tuple[int, int]:
    """Lowest and highest key of an instrument, as heard in its training recordings."""
    heard = (notes_heard(data.content.read(e)) for e in data.content.excerpts(domain=domain, split="train"))
    return range_of(sum(heard, np.zeros(88, np.int64)))


def fit(data: Data, p: Params, run: Run) -> tuple[Change, History]:
    """Train for all domains of the data; returns the change and the history of all phases, one after another.

    Continues from ``run.scratch`` if an interrupted training lies there. Raises RetimbreError when the
    inverter, which renders back-translations, is not trained.
    """
    check_batch(p.batch_size, run.fabric, f"{p.section}.batch_size")
    training = Training(data, p, run)
    training.rounds("content", [p.steps, *[p.round_steps] * p.rounds], p.learning_rate, 0, vary=True)
    if p.spectrum_steps:
        number = p.rounds + 1
        training.rounds("spectrum", [p.spectrum_steps], p.learning_rate, number, vary=True)
        training.change.networks.share = p.spectrum_share
        steps, rate = [p.joint_steps] * p.joint_rounds, JOINT_RATE * p.learning_rate
        training.rounds("both", steps, rate, number + 1, vary=False)
    return training.change, training.history
