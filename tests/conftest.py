"""Common ground of all tests: one thread, no inherited experiment or tracking server, slow files first."""

import gc
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

gc.set_threshold(10_000)  # as in stages
# Before NumPy and torch are imported: processes share cores, and bit-equal results need one thread count.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Where two processes compile a function at once, for other types each, Numba's cache mixes their code up:
# whoever loads it crashes, for good. So every process of the suite has a cache of its own.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
_cache = Path(__file__).resolve().parents[1] / ".scratch/numba" / _worker
os.environ["NUMBA_CACHE_DIR"] = str(_cache)
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
    """Take what set-up compiled of librosa into the cache above, and compile the rest, before processes that
    a test starts do so at once. Compiling takes 20 s of a core; a file that is out of date is compiled again.
    """
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        return
    from numba.core.caching import _CacheLocator

    for compiled in Path(find_spec("librosa").origin).parent.rglob("__pycache__/*.nb[ic]"):
        beside = str(compiled.parents[1] / "module.py")
        place = _cache / _CacheLocator.get_suitable_cache_subpath(beside)
        place.mkdir(parents=True, exist_ok=True)
        if not (place / compiled.name).exists():
            shutil.copy2(compiled, place)
    import librosa.onset  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: i for i, name in enumerate(SLOW)}
    items.sort(key=lambda item: place.get(item.path.stem, len(SLOW)))
