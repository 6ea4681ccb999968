"""Sections of ``params.yaml``: their base class, the types of their values, and the section ``machine``.

Each package declares its own sections beside the code that reads them; ``params.py`` puts them together.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Representation = Literal["cqt", "mel", "stft"]
Precision = Literal["32-true", "bf16-mixed"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """One section: unknown keys, missing ones and wrong types are refused; values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SystemSection(Section):
    """Section of a transfer system that is trained."""

    section: ClassVar[str]  # its name in params.yaml
    inputs: ClassVar[tuple[str, ...]] = ()  # of its training, beside data/resampled and data/features
    needs_pairs: ClassVar[bool] = False
    least_domains: ClassVar[int] = 2


class Machine(Section):
    """The use of the machine: changes speed and what is shown, never a result. No stage depends on it.

    The defaults are those of ``params.yaml``; code that runs outside a project uses them.
    """

    jobs: Count = 2  # processes
    joblib_backend: Literal["loky", "threading", "dask"] = "loky"
    downloads: Annotated[int, Field(ge=1, le=16)] = 4  # files at the same time
    cache_mb: NonNegative = 4000  # of what evaluate keeps for its next run
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1  # processes on each machine
    nodes: Count = 1  # machines
    compile: bool = False  # torch.compile
    log_every: Count = 20  # steps
    checkpoint_every: Count = 100  # steps
