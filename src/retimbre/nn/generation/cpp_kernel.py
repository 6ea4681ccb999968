"""The generation loop in C++ (``wavenet.cpp``) behind a C ABI: optional, three times as fast as numba.

Built with g++ (or the compiler in CXX) on first use into ``$XDG_CACHE_HOME/retimbre``
(``~/.cache/retimbre``), under a name that holds the source, the flags and the processor, so that a home
folder shared by different machines is safe. Before it is used, it is checked against the eager step;
whatever goes wrong costs one printed sentence and numba takes over.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from retimbre.nn.generation import eager
from retimbre.nn.generation.job import Job
from retimbre.nn.generation.weights import pack
from retimbre.nn.wavenet.network import WaveNet
from retimbre.nn.wavenet.options import CODES, WaveNetConfig

SOURCE = Path(__file__).with_name("wavenet.cpp")
# No -ffast-math: it would switch the whole process to flush-to-zero when the library is loaded.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
TOLERANCE = 1e-4  # of logits against the eager step's

FLOAT = INT64 = BYTE = ctypes.c_void_p  # pointers to arrays


class _Net(ctypes.Structure):
    _fields_ = [
        *((name, FLOAT) for name in ("embedding", "output_bias", "skip_bias", "hidden_bias", "head_bias")),
        ("stream", FLOAT),
        ("dilations", INT64),
        ("offsets", INT64),
        *((name, ctypes.c_int32) for name in ("layers", "kernel", "R", "S")),
        ("residual_scale", ctypes.c_float),
    ]


class _Job(ctypes.Structure):
    _fields_ = [
        ("ring", FLOAT),
        ("code", INT64),
        ("conditioning", FLOAT),
        ("uniforms", FLOAT),
        ("forced", BYTE),
        ("codes", BYTE),
        ("logits", FLOAT),
        *((name, ctypes.c_int64) for name in ("position", "first_segment", "segments", "hold_length", "n")),
        ("inverse_temperature", ctypes.c_float),
    ]


def run_job(job: Job) -> None:
    """Advance all streams, in place; needs ``available()``."""
    _run(_library(), job)


@cache
def available() -> bool:
    """True if the kernel could be built and agrees with the eager step; says why not on stderr, once."""
    try:
        _check(_library())
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        reason = detail[0] if detail else type(error).__name__
        print(f"The C++ generation kernel is not used ({reason}); numba takes over.", file=sys.stderr)
        return False
    return True


@cache
def _library() -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("g++")
    if not compiler:
        raise RuntimeError("there is no g++")
    made_from = SOURCE.read_bytes() + repr((compiler, FLAGS, _processor())).encode()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retimbre"
    path = folder / f"wavenet-{hashlib.sha256(made_from).hexdigest()[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            built = Path(scratch) / path.name
            command = [compiler, *FLAGS, "-o", str(built), str(SOURCE)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            os.replace(built, path)  # one rename: a half-written library is never loaded
    library = ctypes.CDLL(str(path))
    library.retimbre_wavenet_run.restype = None
    return library


def _processor() -> str:
    """Description of the processor, which -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        telling = ("model name", "flags", "Features", "CPU part")
        return "".join(line for line in lines[:40] if line.startswith(telling))
    except OSError:
        return platform.processor() + platform.machine()


def _run(library: ctypes.CDLL, job: Job) -> None:
    p = job.packed

    def at(array: np.ndarray) -> int | None:
        if not array.flags.c_contiguous:
            raise RuntimeError("the C++ kernel was given an array that is not contiguous")
        return array.ctypes.data if array.size else None

    net = _Net(
        **{name: at(getattr(p, name).numpy()) for name, _ in _Net._fields_[:5]},
        stream=at(p.stream),
        dilations=at(p.dilations),
        offsets=at(p.offsets),
        layers=p.layers,
        kernel=p.kernel,
        R=p.residual_channels,
        S=p.skip_bias.shape[0],
        residual_scale=p.residual_scale,
    )
    arrays = ("ring", "code", "conditioning", "uniforms", "forced", "codes", "logits")
    call = _Job(
        **{name: at(getattr(job, name)) for name in arrays},
        position=job.position,
        first_segment=job.first_segment,
        segments=job.conditioning.shape[1],
        hold_length=job.hold_length,
        n=job.codes.shape[1],
        inverse_temperature=job.inverse_temperature,
    )
    library.retimbre_wavenet_run(ctypes.byref(net), ctypes.byref(call), ctypes.c_int64(len(job.code)))


def _check(library: ctypes.CDLL) -> None:
    """Compare a small network's forced logits with the eager step's.

    Seven streams use every tile size, both kernels every ring.
    """
    random, B, n, segments = np.random.default_rng(0), 7, 48, 12
    sizes = {"layers": 5, "layers_per_stack": 4, "residual_channels": 44, "skip_channels": 20}
    for kernel in (2, 3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(kernel)
            packed = pack(WaveNet(WaveNetConfig(4, 16, 2, kernel=kernel, **sizes)))
        gates = (B, segments, packed.layers, 2 * packed.residual_channels)
        job = Job(
            packed=packed,
            ring=np.zeros((B, packed.ring_rows, packed.residual_channels), np.float32),
            code=np.full(B, CODES // 2),
            position=0,
            conditioning=random.standard_normal(gates, dtype=np.float32),
            first_segment=0,
            hold_length=n // segments,
            uniforms=np.zeros((B, n), np.float32),
            inverse_temperature=1.0,
            forced=random.integers(0, CODES, (B, n), dtype=np.uint8),
            codes=np.empty((B, n), np.uint8),
            logits=np.empty((B, n, CODES), np.float32),
        )
        written = ("ring", "code", "codes", "logits")
        reference = replace(job, **{name: getattr(job, name).copy() for name in written})
        eager.run_job(eager.EagerStep(packed, torch.device("cpu")), reference)
        _run(library, job)
        difference = np.abs(job.logits - reference.logits).max()
        if not difference <= TOLERANCE:
            raise RuntimeError(f"its logits differ from the eager step's by {difference:.2g}")
