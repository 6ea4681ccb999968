"""One training loop for all networks: batches drawn ahead, history, checkpoints, stopping.

:func:`fit` asks for the next batch, trains, averages the losses between log points, writes them to the
history and to MLflow, draws the next batches while a step trains, saves the complete state now and then,
refuses to go on after a loss that is not finite, and stops cleanly when Ctrl-C or SIGTERM came.

Of several processes the first writes: history, tracker, checkpoints, progress. Losses are averaged over all,
so that all come to the same decisions; a stop that one was asked for is agreed on at log points, and ends
all after the first has saved.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from retimbre.errors import RetimbreError
from retimbre.progress import Progress
from retimbre.section import Machine
from retimbre.tracking import StageRun
from retimbre.training.checkpoint import Scratch, random_state, set_random_state
from retimbre.training.devices import compiled
from retimbre.training.processes import any_process, average
from retimbre.training.timing import PARTS, PartTimes, collecting

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # seconds to import, which a transfer does without

Batch = TypeVar("Batch")
History = list[dict[str, float]]  # one row per logged step: "step" and values by slash-name
AHEAD = 2  # batches drawn before they are asked for: one slow file does not stop the training


@dataclass(frozen=True)
class Run:
    """Surroundings of a training, beside its data and its params.

    ``scratch`` None: nothing is kept for a restart; ``tracker`` None: nothing is logged but the history.
    """

    seed: int
    fabric: "Fabric"
    machine: Machine = Machine()
    scratch: Scratch | None = None
    tracker: StageRun | None = None

    @property
    def leads(self) -> bool:
        """True for the first of the training's processes, or the only one."""
        return self.fabric.is_global_zero

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run what raises alike in all processes: the first says it, the others end."""
        try:
            yield
        except RetimbreError:
            if self.leads:
                raise
            raise SystemExit(0) from None


class Stateful(Protocol):
    """Object that can be continued: its complete state goes into a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer(Stateful, Protocol):
    """Networks, their optimisers, and one step of their training."""

    networks: list[nn.Module]  # those that are computed with in a step

    def step(self, *batch_and_number: Any) -> dict[str, Tensor]:
        """Train on a batch; returns detached scalars by slash-name."""


def fit(
    name: str,
    steps: int,
    trainer: Trainer,
    draw: Callable[[int], Batch],
    run: Run,
    *,
    step: Callable[[Batch, int], dict[str, Tensor]] | None = None,
    watch: Callable[[Batch, int], dict[str, Tensor]] | None = None,
    validate: Callable[[int], dict[str, float]] | None = None,
    also: Mapping[str, Stateful] | None = None,
    hold: Callable[[], bool] = lambda: False,
) -> History:
    """Train for ``steps`` steps, from the last checkpoint of ``run.scratch`` on; returns the history.

    ``draw(n)``: batch number n, which must depend on n alone. ``step``: how the trainer takes a batch
    (default: its parts and the number). ``watch``: further figures after a step, at the cost of the
    training. ``validate(done)``: figures at every tenth of the training and at its end. ``also``: more that
    is saved and restored, by name. ``hold``: while it is true no checkpoint is made but for a stop and after
    the last step.

    Raises RetimbreError when a loss is not finite.
    """
    loop = Loop(name, steps, run, {"trainer": trainer, **(also or {})}, validate, hold)
    take = step or (lambda batch, number: trainer.step(*batch, number))
    batch = loop.ahead(draw)
    with compiled(run.machine.compile, *trainer.networks):
        for number in loop:
            drawn = batch(number)
            loop.add(take(drawn, number))
            if watch:
                loop.add(watch(drawn, number))
    return loop.curves()


def steps_done(name: str, run: Run) -> int:
    """Steps that the last checkpoint of a training has done."""
    saved = (run.scratch.load() if run.scratch else None) or {}
    return run.fabric.broadcast(saved.get(name, {}).get("step", 0))


class Loop:
    """Iterates over steps ``0 .. steps - 1``; :func:`fit` says what the arguments are."""

    def __init__(
        self,
        name: str,
        steps: int,
        run: Run,
        parts: Mapping[str, Stateful],
        validate: Callable[[int], dict[str, float]] | None = None,
        hold: Callable[[], bool] = lambda: False,
    ):
        self.name, self.steps, self.run, self.parts = name, steps, run, parts
        self.validate, self.hold = validate, hold
        self.scratch, self.tracker, self.leads = run.scratch, run.tracker, run.leads
        self.log_every, self.checkpoint_every = run.machine.log_every, run.machine.checkpoint_every
        self.fabric = run.fabric if run.fabric.world_size > 1 else None
        self.history: History = []
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.recent: list[tuple[int, Mapping[str, Tensor]]] = []  # step and losses, since the last log point
        self.done = 0  # steps
        self.saved: dict[str, Any] = {}
        # Waiting for crops, training, and logging + validation + checkpoints.
        self.seconds = {"data": 0.0, "steps": 0.0, "rest": 0.0}
        self.times = PartTimes()  # what of the steps is forward, backward and optimiser

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Draw a batch in this block: its time is told apart from the step's."""
        began = time.perf_counter()
        yield
        self.seconds["data"] += time.perf_counter() - began

    def ahead(self, draw: Callable[[int], Batch]) -> Callable[[int], Batch]:
        """``draw`` (step -> batch), with the next two batches drawn in a thread while a step trains.

        ``draw`` must depend on the step alone, as crops do: then nothing changes but the waiting, and a
        training that is continued needs no state of it. Only the time that the caller waits counts as
        "data". An error is raised at the step that it belongs to.
        """
        # One thread for its arithmetic too: a second team of OpenMP threads would spin on the cores that the
        # step computes on, and halve its speed. The setting holds for that thread alone.
        thread = ThreadPoolExecutor(1, f"{self.name}-batches", torch.set_num_threads, (1,))
        pending: dict[int, Future] = {}

        def batch(step: int) -> Batch:
            with self.waiting():
                for wanted in range(step, min(step + 1 + AHEAD, self.steps)):
                    if wanted not in pending:
                        pending[wanted] = thread.submit(draw, wanted)
                return pending.pop(step).result()

        return batch

    def shares(self) -> dict[str, float]:
        """Steps per second, and the shares of time of data, steps, the rest, and of the steps' parts."""
        total = max(sum(self.seconds.values()), 1e-9)
        seconds = self.seconds | {name: value for name, value in self.times.collect().items() if value}
        return {
            "speed/steps_per_s": self.steps / total,
            **{f"speed/{name}_share": value / total for name, value in seconds.items()},
        }

    def logs(self, step: int) -> bool:
        """True if a log point follows step number ``step``."""
        return (step + 1) % self.log_every == 0 or step + 1 == self.steps

    def _restore(self) -> int:
        """Take the last checkpoint, if there is one; returns the steps that it has done."""
        # By loop: a stage may train several things.
        self.saved = (self.scratch.load() if self.scratch else None) or {}
        if self.fabric:
            self.saved = self.fabric.broadcast(self.saved)
        if not (saved := self.saved.get(self.name)):
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(saved["parts"][name])
        set_random_state(saved["random"])
        self.history, self.sums, self.counts = saved["history"], saved["sums"], saved["counts"]
        self.seconds, self.times.seconds = saved["seconds"], saved["times"]
        if self.tracker:  # a run of its own: it shows the whole curve
            for row in self.history:
                figures = {name: value for name, value in row.items() if name != "step"}
                self.tracker.log(int(row["step"]), figures)
        if self.leads:
            print(f"{self.name}: continuing at step {saved['step']} of {self.steps}", flush=True)
        return saved["step"]

    def __iter__(self) -> Iterator[int]:
        start = self.done = self._restore()
        validate_every = max(1, self.steps // 10)
        with Progress(self.steps, self.name, "steps", start) if self.leads else nullcontext() as progress:
            for step in range(start, self.steps):
                began, waited = time.perf_counter(), self.seconds["data"]
                with collecting(self.times):
                    yield step
                ended = time.perf_counter()
                self.seconds["steps"] += ended - began - (self.seconds["data"] - waited)
                self.done = done = step + 1
                note = self._log(done) if self.logs(step) else None
                if progress:
                    progress.update(note=note)
                if self.leads and self.validate and (done % validate_every == 0 or done == self.steps):
                    self._record(done, self.validate(done))
                self._leave_if_asked(step)
                if done % self.checkpoint_every == 0 and done < self.steps and not self.hold():
                    self._save(done)
                self.seconds["rest"] += time.perf_counter() - ended
        if self.steps > start and self.leads:
            shares = self.shares()
            print(f"{self.name}: {_speed(shares)}", flush=True)
            if self.tracker:
                self.tracker.metrics({f"{self.name}/{name}": value for name, value in shares.items()})
        self._save(self.steps)

    def _leave_if_asked(self, step: int) -> None:
        """Save and end the program after Ctrl-C or SIGTERM, of several processes together."""
        if self.scratch is None or (self.fabric and not self.logs(step)):
            return
        if any_process(self.fabric, self.scratch.stop_requested):
            self._save(step + 1)
            if self.fabric:
                self.fabric.barrier()  # a process that ended before the first has saved would take it with it
            if not self.leads:
                raise SystemExit(0)
            self.scratch.leave()

    def _record(self, step: int, figures: dict[str, float]) -> None:
        self.history.append({"step": step, **figures})
        if self.tracker:
            self.tracker.log(step, figures)

    def _save(self, step: int) -> None:
        sums = average(self.fabric, self.sums) if self.fabric else self.sums
        self._check(sums, step)  # never keep a state that has already diverged
        if not self.scratch or not self.leads:
            return
        self.saved[self.name] = {
            "step": step,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "random": random_state(),  # what dropout draws from
            "history": self.history,
            "sums": sums,
            "counts": self.counts,
            "seconds": self.seconds,
            "times": self.times.collect(),
        }
        self.scratch.save(self.saved)

    def add(self, losses: dict[str, Tensor]) -> None:
        """Take the losses (detached scalars) of one step; no synchronisation with the device."""
        self.recent.append((self.done + 1, losses))
        for name, value in losses.items():
            value = value.float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def _log(self, step: int) -> str:
        sums = average(self.fabric, self.sums) if self.fabric else self.sums
        means = {name: float(total) / self.counts[name] for name, total in sums.items()}
        self._check(means, step)
        self.sums, self.counts, self.recent = {}, {}, []
        self._record(step, means)
        return " ".join(f"{name.rsplit('/')[-1]} {value:.3f}" for name, value in list(means.items())[:5])

    def _check(self, losses: Mapping[str, float | Tensor], step: int) -> None:
        """Refuse losses up to ``step`` that are not finite, naming the first that this process knows of."""
        if all(math.isfinite(float(value)) for value in losses.values()):
            return
        known = [*((f"at step {n}", found) for n, found in self.recent), (f"by step {step}", losses)]
        when, name, value = next(
            (when, name, float(x))
            for when, found in known
            for name, x in found.items()
            if not math.isfinite(float(x))
        )
        with self.run.together():
            problem = f"{self.name}: {name} is {value} {when}, so the training has diverged"
            raise RetimbreError(f"{problem}: lower its learning rates in params.yaml.")

    def curves(self) -> History:
        """History as rows, one per step (losses and validation figures joined)."""
        rows: dict[float, dict[str, float]] = {}
        for row in self.history:
            rows.setdefault(row["step"], {}).update(row)
        return [rows[step] for step in sorted(rows)]


def _speed(shares: dict[str, float]) -> str:
    """``Loop.shares`` in words."""
    text = {
        name: f"{name} {shares[f'speed/{name}_share']:.1%}"
        for name in ("data", "steps", "rest", *PARTS)
        if f"speed/{name}_share" in shares
    }
    if inner := ", ".join(text[name] for name in PARTS if name in text):
        text["steps"] += f" ({inner})"
    shown = ", ".join(text[name] for name in ("data", "steps", "rest"))
    return f"{shares['speed/steps_per_s']:.1f} steps/s; {shown} of the time"


def write_history(path: Path, rows: History) -> None:
    """Write rows as CSV, one column per name, empty where a step has no value."""
    names = ["step", *sorted({name for row in rows for name in row} - {"step"})]
    lines = [",".join(names)]
    lines += [
        ",".join(f"{row[n]:.6g}" if n != "step" and n in row else str(row.get(n, "")) for n in names)
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
