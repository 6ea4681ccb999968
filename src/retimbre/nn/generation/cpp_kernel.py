"""The generation loop in C++ (``wavenet.cpp``) behind a C ABI: optional, several times as fast as numba, with
weights in float32 or bfloat16.

Built with g++ (or the compiler in CXX) on first use into ``$XDG_CACHE_HOME/retimbre`` (``~/.cache/retimbre``), under a name that
holds the source, the flags and the processor, so that a home folder shared by different machines is safe. Before it is used, it is
checked against the torch reference; whatever goes wrong costs one printed sentence and numba takes over.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from retimbre.nn.generation.stream import KINDS

SOURCE = Path(__file__).with_name("wavenet.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")  # no -ffast-math: it
# would switch the whole process to flush-to-zero when the library is loaded
TOLERANCE = 1e-4  # of logits against the reference

FLOAT, INT64, BYTE = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p  # pointers to arrays


class _Net(ctypes.Structure):
    _fields_ = [
        *((name, FLOAT) for name in ("embedding", "output_bias", "skip_bias", "hidden_bias", "head_bias")),
        ("stream", BYTE),
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


def run_job(job) -> None:
    """Advance the streams of a ``sampler.Job``, in place; needs ``available()``."""
    _run(_library(), job)


@cache
def available() -> bool:
    """Whether the kernel could be built and agrees with the reference; says why not on stderr, once."""
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
    key = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, FLAGS, _processor())).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retimbre"
    path = folder / f"wavenet-{key}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # then one rename: a half-written library is never loaded
            built = Path(scratch) / path.name
            command = [compiler, *FLAGS, "-o", str(built), str(SOURCE)]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            os.replace(built, path)
    library = ctypes.CDLL(str(path))
    library.retimbre_wavenet_run.restype = None
    return library


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(line for line in lines[:40] if line.startswith(("model name", "flags", "Features", "CPU part")))
    except OSError:
        return platform.processor() + platform.machine()


def _run(library: ctypes.CDLL, job) -> None:
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
    arrays = {name: at(getattr(job, name)) for name in ("ring", "code", "conditioning", "uniforms", "forced", "codes", "logits")}
    call = _Job(
        **arrays,
        position=job.position,
        first_segment=job.first_segment,
        segments=job.conditioning.shape[1],
        hold_length=job.hold_length,
        n=job.codes.shape[1],
        inverse_temperature=job.inverse_temperature,
    )
    streams, bfloat16 = ctypes.c_int64(len(job.code)), ctypes.c_int32(p.kind == "bfloat16")
    library.retimbre_wavenet_run(ctypes.byref(net), ctypes.byref(call), streams, bfloat16)


def _check(library: ctypes.CDLL) -> None:
    """Compare a small network's forced logits with the reference: seven streams use every tile size, both kernels every ring."""
    from retimbre.nn.generation.sampler import forced_logits
    from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig

    random = np.random.default_rng(0)
    codes = random.integers(0, 256, (7, 48), dtype=np.uint8)
    features = random.standard_normal((7, 4, 4), dtype=np.float32)
    for kernel in (2, 3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(kernel)
            model = WaveNet(WaveNetConfig(4, 16, 2, layers=5, layers_per_stack=4, kernel=kernel, residual_channels=44, skip_channels=20))
        for kind in KINDS:
            reference = forced_logits(model, features, 1, codes, route="eager", weights=kind)
            logits = forced_logits(model, features, 1, codes, route=lambda job: _run(library, job), weights=kind)
            difference = np.abs(logits - reference).max()
            if not difference <= TOLERANCE:
                raise RuntimeError(f"its logits with {kind} weights differ from the reference by {difference:.2g}")
