"""Kernels just compiled and kernels from numba's cache give the same samples, to the last bit.

fastmath leaves the order of a sum to the compiler, and a function that is called, not inlined, may be
compiled twice: once for itself, once into its caller. One process would then run the first, every later one
the second.
"""

import os
import subprocess
import sys

PROGRAM = """
import gc
import hashlib

gc.set_threshold(10_000)  # as in stages

import numpy as np
import torch

from retimbre.nn.generation.sampler import forced_logits, generate
from retimbre.nn.wavenet.network import WaveNet, WaveNetConfig
from retimbre.vocoders.excited import generation as excited
from retimbre.vocoders.excited.network import ExcitedWaveNet

torch.set_num_threads(1)
torch.manual_seed(0)
sizes = {"feature_bins": 4, "hop_length": 16, "n_domains": 2, "layers": 3, "layers_per_stack": 3}
sizes |= {"residual_channels": 16, "skip_channels": 16, "conditioning_channels": 8}
mol = {"input": "scalar", "output": "mol"}


def show(*arrays):
    print(*(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays))


network, features = WaveNet(WaveNetConfig(**sizes)).eval(), 10 * torch.randn(1500, 4, 2) - 40
with torch.no_grad():
    network.head_output.weight.mul_(20)
logits = forced_logits(network, features, 0, np.zeros((1500, 1), np.uint8))[:, 0].astype(np.float64)
p = np.exp(logits - logits.max(1, keepdims=True))
edges = np.cumsum(p, 1) / p.sum(1, keepdims=True)
edges = edges[:, 127:128].astype(np.float32)  # draws that the last bit decides
drawn = generate(network, features, 0, 1, uniforms=edges)
assert 0 < (drawn == 127).mean() < 1, "no draw was near an edge"
show(logits, drawn)

network = WaveNet(WaveNetConfig(**sizes, **mol)).eval()
show(generate(network, features[:3], 0, 16, seed=0))

network = ExcitedWaveNet(WaveNetConfig(**sizes, **mol)).eval()
with torch.no_grad():
    network.head_output.weight.normal_(0, 0.3)
excitation = 0.1 * torch.randn(400).numpy()
show(excited.generate(network, torch.randn(4, 26), 0, excitation, seed=0))
"""


def test_compiled_now_equals_loaded_from_the_cache(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    shown = []
    for _ in range(2):
        shown.append(
            subprocess.run(
                [sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True
            ).stdout
        )
        assert len(list(tmp_path.rglob("*.nbi"))) >= 2, "numba cached nothing"
    assert len(shown[0].split()) == 4
    assert shown[1] == shown[0]
