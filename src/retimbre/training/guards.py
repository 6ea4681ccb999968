"""Guards of an adversarial training: figures that tell a collapse from progress, and what is done then.

The losses do not tell. Published systems of this family muted their output, copied their input or gave every
input the same output while their losses looked well, and a discriminator that wins every time (or never)
teaches the generators nothing. Every 20 steps one batch is measured (and another crop beside a single one,
which has nothing to differ from):

* ``guard/level_db_ab``: power of the outputs against the inputs', in dB. *Mute*: far under zero; recordings
  are levelled alike.
* ``guard/change_db_ab``: mean absolute change. *Identity*: nothing is changed although the discriminator
  sees through it.
* ``guard/diversity_ab``: how different outputs are, against how different inputs are: (1 - r_out) / (1 -
  r_in), r the mean correlation between the crops of a batch. *One output*: near zero. An equaliser has about
  1.
* ``guard/wins_b``: how often discriminator b scores a real crop above a generated one, over all pairs of the
  batch: 1 it always tells them apart, 0.5 chance. A threshold-free accuracy, the same for every adversarial
  loss.

A collapse that lasts is an error (``guard_action: stop``) or a warning (``warn``). A discriminator that wins
or guesses for long is only a warning, because trainings recover from both; ``guard_balance`` slows down one
that wins.
"""

import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from retimbre.errors import RetimbreError

MUTE_DB = -20.0  # a tenth of the amplitude; between levelled instruments a few dB are normal
SAME_DB = 0.1  # mean change of all cells; an equaliser between two instruments makes several dB
SEEN_THROUGH = 0.9  # wins from which a discriminator would have told the generator to change something
DIVERSITY = 0.2  # of the inputs'; the equaliser has 1, a constant output 0
WINS, CHANCE = 0.98, (0.4, 0.6)  # means of ``wins`` over the span for "always" and "never"
BALANCE_AT = 0.95  # mean wins from which guard_balance slows the discriminator
BALANCED_RATE = 0.1

WARM_UP = 0.05  # of the steps, in which nothing counts: untrained generators may change nothing
# Of the steps, for which a collapse must last, but at least so many looks: batches are small, and excursions
# end by themselves.
PATIENCE, FEWEST = {"mute": 0.05, "one output": 0.05, "identity": 0.1}, 5
SPAN = 0.2  # of the steps, over which a discriminator's wins are averaged

ADVICE = {  # s: the section of the params
    "mute": "raise {s}.lambda_cycle, set {s}.change_limit (0.7), or lower {s}.learning_rate_generator",
    "identity": "lower {s}.lambda_cycle and {s}.lambda_identity, or raise {s}.learning_rate_generator",
    "one output": (
        "raise {s}.lambda_cycle, set {s}.change_limit (0.7), or lower {s}.learning_rate_discriminator"
    ),
    "wins": "lower {s}.learning_rate_discriminator, or set {s}.guard_balance",
    "chance": "raise {s}.learning_rate_discriminator or {s}.discriminator_channels",
}


def mean_correlation(x: Tensor) -> Tensor:
    """Mean correlation between the examples (B, ...) of a batch; constant ones equal all others."""
    rows = x.flatten(1).float()
    rows = rows - rows.mean(1, keepdim=True)
    norms = rows.norm(dim=1)
    rows = rows / norms.clamp(min=1e-6)[:, None]
    r = rows @ rows.T
    constant = norms < 1e-3 * rows.shape[1] ** 0.5
    r = torch.where(constant[:, None] | constant[None], torch.ones_like(r), r)
    n = len(x)
    return (r.sum() - r.diagonal().sum()) / (n * (n - 1))


def output_figures(name: str, x: Tensor, y: Tensor, range_db: float) -> dict[str, Tensor]:
    """Figures of inputs ``x`` and outputs ``y`` (B, F, T) in -1..1, which is ``range_db`` wide.

    Diversity only of two or more.
    """

    def power(z: Tensor) -> Tensor:
        # -1..1 is range_db: half a range is range_db / 2 dB.
        return torch.pow(10.0, z.float() * (range_db / 20)).mean()

    figures = {
        f"guard/level_db_{name}": 10 * torch.log10(power(y) / power(x)),
        f"guard/change_db_{name}": (y - x).abs().mean() * (range_db / 2),
    }
    if len(x) > 1:
        # A little more: a batch of rests is as like as its outputs.
        out, given = (1 - mean_correlation(z) + 0.01 for z in (y, x))
        figures[f"guard/diversity_{name}"] = out / given
    return figures


def wins(real: Tensor, generated: Tensor) -> Tensor:
    """Share of pairs of real and generated examples with scores (B,) in the right order; ties: half."""
    difference = real[:, None] - generated[None]
    return ((difference > 0).float() + 0.5 * (difference == 0).float()).mean()


def example_scores(judgements: list[list[Tensor]]) -> Tensor:
    """Mean score of every example (B,), from a discriminator's output.

    That is one list of activations per network, the last of them its scores.
    """
    return torch.stack([activations[-1].float().flatten(1).mean(1) for activations in judgements]).mean(0)


@torch.no_grad()
def measure(
    generators: nn.ModuleDict, discriminators: nn.ModuleDict, a: Tensor, b: Tensor, range_db: float
) -> dict[str, Tensor]:
    """All figures of one batch of each domain; leaves the networks' buffers and the random numbers alone."""
    modes = [(m, m.training) for networks in (generators, discriminators) for m in networks.modules()]
    generators.eval(), discriminators.eval()  # no dropout, no step of a spectral norm's power iteration
    fake_b, fake_a = generators["ab"](a), generators["ba"](b)
    figures = output_figures("ab", a, fake_b, range_db) | output_figures("ba", b, fake_a, range_db)
    for name, real, generated, source in (("a", a, fake_a, b), ("b", b, fake_b, a)):
        d = discriminators[name]  # a conditional one (pix2pix) sees the source, too
        figures[f"guard/wins_{name}"] = wins(*(example_scores(d(x, source)) for x in (real, generated)))
    for module, training in modes:
        module.training = training
    return figures


class Guards:
    """Watches the figures, taken every ``every`` steps, of a training of ``steps`` steps.

    ``section``: of the params, named in advice. ``action``: stop | warn. ``speaks``: False in all but the
    first of several processes, which see the same figures. ``discriminator_rate`` is what the
    discriminators' learning rate is to be multiplied with: 1, or less while ``balance`` is on and they win.
    """

    def __init__(
        self,
        name: str,
        section: str,
        steps: int,
        every: int,
        action: str = "stop",
        balance: bool = False,
        speaks: bool = True,
    ):
        self.name, self.section, self.steps = name, section, steps
        self.action, self.balance, self.speaks = action, balance, speaks
        self.points = {kind: max(FEWEST, round(share * steps / every)) for kind, share in PATIENCE.items()}
        self.span = max(FEWEST, round(SPAN * steps / every))
        self.strikes: dict[str, int] = {}
        self.wins: dict[str, deque[float]] = {}
        self.warned: list[str] = []
        self.discriminator_rate = 1.0

    @property
    def suspicious(self) -> bool:
        """True if a collapse may be going on that would end the training: no state to go back to."""
        return self.action == "stop" and any(self.strikes.values())

    def watch(self, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures after ``step`` steps. Raises RetimbreError for a collapse that lasts."""
        for name in ("a", "b"):
            if (value := figures.get(f"guard/wins_{name}")) is not None:
                self.wins.setdefault(name, deque(maxlen=self.span)).append(value)
        self._balance()
        if step <= WARM_UP * self.steps:
            return
        for direction, seen_by in (("ab", "b"), ("ba", "a")):
            self._watch_outputs(step, direction, figures, figures.get(f"guard/wins_{seen_by}", 1.0))
            self._watch_discriminator(step, seen_by)

    def _watch_outputs(self, step: int, direction: str, figures: Mapping[str, float], wins: float) -> None:
        level, change = (figures.get(f"guard/{what}_{direction}") for what in ("level_db", "change_db"))
        diversity = figures.get(f"guard/diversity_{direction}")
        generator = f"generator {direction}"
        found: dict[str, str | None] = dict.fromkeys(PATIENCE)
        if level is not None and level < MUTE_DB:
            found["mute"] = f"{generator}'s output is {-level:.0f} dB below its input"
        if diversity is not None and diversity < DIVERSITY:
            found["one output"] = f"{generator}'s outputs differ {diversity:.1%} as much as its inputs"
        if change is not None and change < SAME_DB and wins >= SEEN_THROUGH:
            told = f"though the discriminator tells {wins:.0%} of its outputs"
            found["identity"] = f"{generator} changes its input by {change:.2f} dB {told}"
        for kind, sentence in found.items():
            key = f"{kind} {direction}"
            self.strikes[key] = self.strikes.get(key, 0) + 1 if sentence else 0
            if self.strikes[key] >= self.points[kind]:
                self._act(step, key, f"{sentence} ({kind})", kind, self.action == "stop")

    def _watch_discriminator(self, step: int, name: str) -> None:
        history = self.wins.get(name, ())
        if len(history) < self.span:
            return
        mean = sum(history) / len(history)
        if mean >= WINS:
            said = f"discriminator {name} tells {mean:.0%} of the pairs apart"
            self._act(step, f"wins {name}", said, "wins", False)
        elif CHANCE[0] <= mean <= CHANCE[1]:
            said = f"discriminator {name} is at chance ({mean:.0%} of the pairs)"
            self._act(step, f"chance {name}", said, "chance", False)

    def _act(self, step: int, key: str, finding: str, kind: str, stop: bool) -> None:
        advice = ADVICE[kind].format(s=self.section)
        if stop:
            raise RetimbreError(
                f"{self.name}: at step {step} {finding}, and has for long: {advice}; "
                f"{self.section}.guard_action: warn goes on."
            )
        if key not in self.warned:
            self.warned.append(key)
            if self.speaks:
                text = f"warning: {self.name}: at step {step} {finding}: {advice}."
                print(text, file=sys.stderr, flush=True)

    def _balance(self) -> None:
        if self.balance:
            last = [value for history in self.wins.values() for value in list(history)[-FEWEST:]]
            self.discriminator_rate = BALANCED_RATE if last and sum(last) / len(last) >= BALANCE_AT else 1.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "strikes": dict(self.strikes),
            "wins": {name: list(values) for name, values in self.wins.items()},
            "warned": list(self.warned),
            "discriminator_rate": self.discriminator_rate,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.strikes, self.warned = dict(state["strikes"]), list(state["warned"])
        self.wins = {name: deque(values, maxlen=self.span) for name, values in state["wins"].items()}
        self.discriminator_rate = state["discriminator_rate"]
