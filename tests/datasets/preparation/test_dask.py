"""The feature cache through Dask: a cluster of two worker processes writes the bytes that threads write."""

import hashlib
import os
import time

import numpy as np
import pytest

from retimbre.datasets.packed.format import AudioWriter
from retimbre.datasets.parallel import parallel_map
from retimbre.datasets.preparation import caching
from retimbre.errors import RetimbreError
from retimbre.section import Machine
from tests.toys.prepared import feature_params

distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
ADDRESS = "DASK_SCHEDULER_ADDRESS"


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two worker processes, as somebody might run them for more than this project."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def resampled(tmp_path_factory):
    """Eighteen noisy tones of different lengths: more than the sixteen tasks of one block of two workers."""
    folder, random = tmp_path_factory.mktemp("pack") / "resampled", np.random.default_rng(0)
    with AudioWriter(folder, 16000, 0.1, 512) as writer:
        for number in range(18):
            n = np.arange(3000 + 517 * number)
            x = 3000 * np.sin(2 * np.pi * 110 * 2 ** (number / 6) / 16000 * n) + 100 * random.standard_normal(
                len(n)
            )
            domain, split = ("piano", "guitar")[number % 2], ("train", "train", "test")[number // 2 % 3]
            writer.add(x.astype(np.int16), domain, split, f"piece {number}")
    return folder


def cache(resampled, out, backend):
    caching.cache_features(resampled, out, feature_params(), 512, Machine(jobs=2, joblib_backend=backend))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def test_two_dask_workers_write_the_bytes_of_threads(cluster, resampled, tmp_path, monkeypatch):
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    by_dask, by_threads = (cache(resampled, tmp_path / name, name) for name in ("dask", "threading"))
    assert len(by_dask) == 3 * 4 + 3  # representations x (domains x splits); configuration, statistics, index
    assert by_dask == by_threads


def test_the_clusters_processes_do_the_work_in_order(cluster, monkeypatch):
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    with distributed.Client(cluster.scheduler_address) as client:
        workers = set(client.run(os.getpid).values())

    def work(task):
        time.sleep(0.02)  # long enough for the other worker to take the next one
        return task, os.getpid()

    results = list(parallel_map(work, range(20), jobs=2, backend="dask"))
    assert [task for task, _ in results] == list(range(20))
    assert {process for _, process in results} == workers and len(workers) == 2 and os.getpid() not in workers


def test_without_an_address_a_cluster_of_its_own_is_started_and_stopped(monkeypatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    results = list(parallel_map(lambda task: (task * task, os.getpid()), range(4), jobs=2, backend="dask"))
    assert [square for square, _ in results] == [0, 1, 4, 9]
    processes = {process for _, process in results}
    assert os.getpid() not in processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_an_error_in_a_worker_is_raised_here(cluster, monkeypatch):
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)

    def work(task):
        raise RetimbreError(f"recording {task} cannot be read.")

    with pytest.raises(RetimbreError, match="recording 0 cannot be read"):
        list(parallel_map(work, range(1), jobs=2, backend="dask"))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    import dask

    monkeypatch.setenv(ADDRESS, "tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(RetimbreError, match="tcp://127.0.0.1:9"),
    ):
        list(parallel_map(abs, [1], jobs=2, backend="dask"))
