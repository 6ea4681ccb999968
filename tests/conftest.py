"""Common ground of all tests: one thread, no inherited experiment or tracking server, slow files first."""

import gc
import os
from pathlib import Path

gc.set_threshold(10_000)  # as in stages
# Before NumPy and torch are imported: processes share cores, and bit-equal results need one thread count.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Where two processes compile a function at once, for other types each, Numba's cache mixes their code up:
# whoever loads it crashes, for good. So every process of the suite has a cache of its own.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".scratch/numba" / _worker)
# The suite may run inside a stage or beside somebody's tracking server: what is tested may see neither.
for _name in [name for name in os.environ if name.startswith(("DVC_", "MLFLOW_"))]:
    del os.environ[_name]

import pytest  # noqa: E402

# Files of half a minute and more: they start first, so that those of the last minute are short and no process
# waits long for another. Two that compile the same kernels (the third and the last) are far apart.
SLOW = """
    test_pipeline test_listening_browser test_wavenet_generation test_ablation test_distributed
    test_odd_recordings test_export test_generation_notes test_resynthesis test_own_recordings
    test_generation_cache test_notebook test_collection test_suite test_wheel test_page test_tracking
    test_vocoder_figures
""".split()


def pytest_configure(config: pytest.Config) -> None:
    """Compile librosa's functions into the cache above, before processes that a test starts do so at once."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        import librosa.onset  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: i for i, name in enumerate(SLOW)}
    items.sort(key=lambda item: place.get(item.path.stem, len(SLOW)))
