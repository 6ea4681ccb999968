"""Several processes that train one network as if they were one: what a training step adds for it.

``batch_size`` is the *global* batch. Every process draws the same places and keeps its share of them,
computes the mean loss of its share, and averages gradients before each optimiser step; because shares are
equal, the mean of their gradients is the gradient of the whole batch. What must see the whole batch (the
replay pool) gathers it. With one process every function returns what it was given.

All communication is Lightning Fabric's (``all_reduce``, ``all_gather``, ``broadcast``).
"""

import os
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from retimbre.errors import RetimbreError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def average_gradients(fabric: "Fabric", parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over all processes, in one reduction, between backward and the optimiser's step.

    Every process must have gradients for the same parameters.
    """
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def gather(fabric: "Fabric", x: Tensor) -> Tensor:
    """The global batch (B, ...) of what each process has a share of; without gradients."""
    if fabric.world_size == 1:
        return x
    shares = fabric.all_gather(x.detach().contiguous())  # (processes, B / processes, ...)
    return shares.flatten(0, 1)  # (B, ...)


def own_share(fabric: "Fabric", x: Tensor) -> Tensor:
    """This process's share (B / processes, ...) of a global batch (B, ...) that every process has."""
    if fabric.world_size == 1:
        return x
    size = len(x) // fabric.world_size
    return x[fabric.global_rank * size : (fabric.global_rank + 1) * size]


def average(fabric: "Fabric", values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means of scalars over all processes, which must have the same names."""
    if fabric.world_size == 1 or not values:
        return values
    device = next(iter(values.values())).device
    own = torch.stack([value.to(device).float() for value in values.values()])
    flat = fabric.all_reduce(own, reduce_op="mean")
    return dict(zip(values, flat.unbind(), strict=True))


def any_process(fabric: "Fabric | None", flag: bool) -> bool:
    """True if the flag is set in any process."""
    if fabric is None or fabric.world_size == 1:
        return flag
    return bool(fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum") > 0)


def check_batch(batch_size: int, fabric: "Fabric", key: str, multiple: int = 1) -> None:
    """Raise RetimbreError, naming the params ``key``, unless the batch has equal shares of a ``multiple``."""
    least = fabric.world_size * multiple
    if fabric.world_size > 1 and batch_size % least:
        together = f"the batch of all {fabric.world_size} processes together"
        raise RetimbreError(f"{key} is {batch_size}, {together}: make it a multiple of {least}.")


def end_with_parent() -> None:
    """End this process soon after the one that started it has ended, however that happened.

    A rank that waits in a collective would otherwise wait for a dead one until a time-out of minutes.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
