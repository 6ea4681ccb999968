"""The desk with real threads: one job at a time, in turn; what nobody waits for ends and leaves no file."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retimbre.app import desk as d
from retimbre.errors import RetimbreError
from retimbre.progress import Progress

HANGS_S = 60


class Work:
    """Work that goes on, step by step, as far as the test lets it."""

    def __init__(self):
        self.began, self.steps, self.order = threading.Semaphore(0), threading.Semaphore(0), []

    def __call__(self, job: d.Job) -> dict[str, str]:
        self.order.append(job.name)
        self.began.release()
        with Progress(2, job.name) as progress:
            for _ in range(2):
                assert self.steps.acquire(timeout=HANGS_S)
                progress.update()
        if job.name == "bad":
            raise RetimbreError(f"{job.source} is not audio: convert it.")
        if job.name == "broken":
            raise KeyError("code")
        return {"of": job.name}


@contextmanager
def at_work() -> Iterator[tuple[Work, d.Desk]]:
    work = Work()
    with d.Desk(work) as desk:
        yield work, desk
        for _ in range(100):
            work.steps.release()
    assert not Path(desk.place.name).exists() and not desk.thread.is_alive()


def submitted(desk: d.Desk, name: str) -> d.Job:
    job = desk.open(name, "guitar", "cyclegan")
    job.source.write_bytes(b"sound")
    desk.submit(job)
    return job


def until(condition) -> None:
    for _ in range(HANGS_S * 100):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def test_jobs_are_done_in_turn_and_say_how_far_they_are() -> None:
    with at_work() as (work, desk):
        first, second, third = (submitted(desk, name) for name in "abc")
        assert work.began.acquire(timeout=HANGS_S)
        assert [desk.ahead(job) for job in (first, second, third)] == [0, 1, 2]
        assert [job.state for job in (first, second, third)] == ["working", "waiting", "waiting"]
        work.steps.release()
        until(lambda: (first.done, first.total) == (1, 2))
        desk.drop(second.id)
        assert desk.ahead(third) == 1 and not second.folder.exists()
        for _ in range(3):
            work.steps.release()
        until(lambda: third.state == "done")
        assert work.order == ["a", "c"], "a dropped job is never begun"
        assert third.result == {"of": "c"} and third.folder.exists() and not third.source.exists()


def test_work_that_nobody_waits_for_ends_at_its_next_step() -> None:
    with at_work() as (work, desk):
        left, next_ = submitted(desk, "left"), submitted(desk, "next")
        assert work.began.acquire(timeout=HANGS_S)
        desk.drop(left.id)
        work.steps.release()
        assert work.began.acquire(timeout=HANGS_S), "the next one begins without the second step"
        assert not left.folder.exists() and left.result == {} and next_.state == "working"


def test_failures_are_sentences_that_name_the_users_file(capsys: pytest.CaptureFixture) -> None:
    with at_work() as (work, desk):
        bad, broken, good = (submitted(desk, name) for name in ("bad", "broken", "good"))
        for _ in range(6):
            work.steps.release()
        until(lambda: good.state == "done")
    assert (bad.state, bad.error) == ("failed", "bad is not audio: convert it.")
    assert broken.error == "the transfer failed (KeyError): the server's terminal says where."
    assert "KeyError: 'code'" in capsys.readouterr().err


def test_neither_results_nor_waiting_jobs_pile_up() -> None:
    with at_work() as (work, desk):
        jobs = []
        for n in range(d.MOST_ENDED + 2):
            jobs.append(submitted(desk, str(n)))
            for _ in range(2):
                work.steps.release()
            until(lambda: jobs[-1].state == "done")
        until(lambda: not jobs[1].folder.exists())
        assert [job.folder.exists() for job in jobs] == [False] * 2 + [True] * d.MOST_ENDED
        for n in range(d.MOST_WAITING + 1):  # one is worked on
            submitted(desk, f"more {n}")
            until(lambda: "working" in [job.state for job in desk.jobs.values()])
        with pytest.raises(d.Full):
            desk.open("one too many", "guitar", "cyclegan")
