"""Processes that measure side by side."""

import os

import pytest
import torch

from retimbre.errors import RetimbreError
from retimbre.evaluation.bench.processes import side_by_side
from retimbre.training.devices import one_thread


def threads_here(task):
    return task, os.getpid(), torch.get_num_threads()


def end_this_process(task):
    os.kill(os.getpid(), 9)


def test_one_job_is_this_process_with_one_thread():
    with side_by_side(1) as over:
        assert list(over(threads_here, range(3))) == [(task, os.getpid(), 1) for task in range(3)]


def test_results_come_in_order_from_processes_of_one_thread_and_an_ended_one_gets_a_sentence():
    with pytest.raises(RetimbreError, match="OMP_NUM_THREADS=1"), side_by_side(2) as over:
        found = list(over(threads_here, range(6)))
        assert [task for task, _, _ in found] == list(range(6))
        assert {threads for _, _, threads in found} == {1}
        assert os.getpid() not in {process for _, process, _ in found}
        list(over(end_this_process, [1, 2]))


def test_threads_and_environment_are_as_before(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
