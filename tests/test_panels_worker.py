"""The worker: newest wins, failures are told, closing ends the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from amkd_viz.core.errors import InputError
from amkd_viz.panels.worker import Worker


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def worker(told: list[str]) -> Iterator[Worker]:
    made = Worker("test", told.append)
    yield made
    made.close()


def test_a_burst_costs_two_evaluations(worker: Worker) -> None:
    seen: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def task(number: int) -> None:
        begun.set()
        go.wait(10)
        seen.append(number)

    worker.ask("slider", lambda: task(0))
    assert begun.wait(10)
    for number in range(1, 51):
        worker.ask("slider", lambda number=number: task(number))
    go.set()
    assert worker.wait(10)
    assert seen == [0, 50]


def test_keys_do_not_push_each_other_out(worker: Worker) -> None:
    seen: list[str] = []
    for key in ("a", "b", "a", "c"):
        worker.ask(key, lambda key=key: seen.append(key))
    assert worker.wait(10)
    assert sorted(seen[-3:]) == ["a", "b", "c"]


def test_a_task_hears_that_newer_work_waits(worker: Worker) -> None:
    heard: list[bool] = []
    begun, asked = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        assert asked.wait(60)
        heard.extend([worker.waits("map"), worker.waits("other")])

    worker.ask("map", long)
    assert begun.wait(60)
    worker.ask("map", lambda: None)
    asked.set()
    assert worker.wait(60)
    assert heard == [True, False]


def test_a_pause_bundles_and_ends_for_a_person(told: list[str]) -> None:
    worker, seen = Worker("test", told.append, pause=3600.0), []
    try:
        worker.ask("a", lambda: seen.append(1))
        assert worker.wait(60)
        worker.ask("a", lambda: seen.append(2))
        worker.ask("a", lambda: seen.append(3))
        worker.ask("b", lambda: seen.append(4), soon=True)
        assert worker.wait(60)
        assert seen == [1, 3, 4]
    finally:
        worker.close()


def test_failures_are_told_and_the_thread_goes_on(worker: Worker, told: list[str]) -> None:
    def wrong() -> None:
        raise InputError("noise must be at least 0, not -1.")

    def broken() -> None:
        raise RuntimeError("boom")

    done: list[int] = []
    worker.ask("a", wrong)
    worker.ask("b", broken)
    worker.ask("c", lambda: done.append(1))
    assert worker.wait(10)
    assert told[0] == "noise must be at least 0, not -1."
    assert told[1].startswith("Traceback")
    assert told[1].rstrip().endswith("RuntimeError: boom")
    assert done == [1]


def test_closed_does_nothing_more(told: list[str]) -> None:
    worker = Worker("test", told.append)
    worker.close()
    worker.close()
    worker.ask("a", lambda: told.append("ran"))
    assert worker.waits("a")
    assert worker.wait(1)
    worker._thread.join(5)
    assert not worker._thread.is_alive()
    assert told == []


def test_its_thread_count_is_its_own(worker: Worker) -> None:
    before = torch.get_num_threads()
    inside: list[int] = []
    worker.ask("a", lambda: inside.append(torch.get_num_threads()))
    assert worker.wait(10)
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (inside, later, torch.get_num_threads()) == ([1], [before], before)
