"""Common ground of all tests: one thread, no inherited experiment or tracking server, the slow file first."""

import gc
import os

gc.set_threshold(10_000)  # as in stages
# Before NumPy and torch are imported: processes share cores, and bit-equal results need one thread count.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# The suite may run inside a stage or beside somebody's tracking server: what is tested may see neither.
for _name in [name for name in os.environ if name.startswith(("DVC_", "MLFLOW_"))]:
    del os.environ[_name]

import pytest  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The pipeline's tests take longest: they must start first."""
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")
