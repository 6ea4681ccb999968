"""A system and one of its instruments as one graph of audio to audio, for runtimes without this package.

What systems do in numpy, numba and soxr is written in operations that graphs have (``audio.peaks`` and
``audio.products``); each change of spectra and each vocoder brings its own part.
"""

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from retimbre.errors import RetimbreError
from retimbre.paths import part_beside
from retimbre.progress import Progress
from retimbre.systems.base import Exportable, Spectral, System

BLOCKS = 7  # of the audio that a graph is traced with
ENDINGS = (".onnx", ".pt2")
NEEDED = ("onnx", "onnxscript")  # to write ONNX


class Graph(nn.Module):
    """Audio (N,) float32 at the system's rate and level to (N,): what ``system.transfer`` makes of it.

    Silence fills the audio to whole blocks, as it does in the transfer of such audio: ``block`` samples.
    """

    def __init__(self, system: Spectral, to: str):
        super().__init__()
        self.change = system.change.graph(to)
        self.vocoder = system.vocoder.renderer.graph(system.vocoder.kind)
        self.block: int = self.change.block

    def forward(self, audio: Tensor) -> Tensor:
        samples = audio.shape[0]
        # Not -(-samples // block): exporters round quotients of negative numbers towards 0.
        whole = (samples + self.block - 1) // self.block * self.block
        x = functional.pad(audio, (0, whole - samples))[None]
        return self.vocoder(self.change(x), whole)[0, :samples]


def graph(system: System, to: str) -> Graph:
    """The system's way to one instrument. Raises RetimbreError for a system or vocoder that is no graph, and
    for an instrument that it does not know.
    """
    if not (isinstance(system, Spectral) and isinstance(system.change, Exportable)):
        raise RetimbreError(f"{system.name} cannot be exported: choose another system with --system.")
    return Graph(system, to).eval()


@torch.no_grad()
def traced(module: Graph) -> ExportedProgram:
    """The graph as torch's exporter sees it, for audio of any length."""
    return torch.export.export(
        module,
        (torch.zeros(BLOCKS * module.block + 1),),
        dynamic_shapes={"audio": {0: Dim.DYNAMIC}},
        # Lengths are compared in ways that are true of all, which the exporter cannot prove.
        prefer_deferred_runtime_asserts_over_guards=True,
    )


def export(system: System, to: str, path: Path) -> None:
    """Write the graph of :func:`graph` to ``path``: ONNX, or ``torch.export``'s archive for .pt2.

    Input and output are called ``audio`` and ``transferred``, (N,) float32. The file's metadata has the
    ``instrument``, and ``sample_rate`` (Hz) and ``rms`` (full scale 1) that the input should have. Raises
    RetimbreError for another ending, or without the libraries that write ONNX.
    """
    if path.suffix not in ENDINGS:
        raise RetimbreError(f"{path} must end in {' or '.join(ENDINGS)}: that is what is written.")
    if path.suffix == ".onnx" and (missing := [name for name in NEEDED if find_spec(name) is None]):
        raise RetimbreError(
            f"{' and '.join(missing)}, needed to write {path}, cannot be imported: run "
            "`pip install 'retimbre[export]'`, or give a name that ends in .pt2."
        )
    module = graph(system, to)
    facts = {"instrument": to, "sample_rate": str(system.sample_rate), "rms": str(system.rms)}
    with (
        part_beside(path) as part,
        part.open("wb") as file,
        Progress(2, path.name, "steps") as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of torch about its own parts
        program = traced(module)
        progress.update()
        if path.suffix == ".pt2":
            torch.export.save(program, file, extra_files=facts)
        else:
            file.write(onnx_of(program, facts))
        progress.update()


def onnx_of(program: ExportedProgram, facts: dict[str, str]) -> bytes:
    """An ONNX file with metadata."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it says that torchvision is not there
    names = {"input_names": ["audio"], "output_names": ["transferred"]}
    # Runtimes optimise graphs as they load them; here it would double the time.
    how = {"dynamo": True, "external_data": False, "verbose": False, "optimize": False}
    made = torch.onnx.export(program, **how, **names)
    made.model.metadata_props.update(facts)
    return made.model_proto.SerializeToString()
