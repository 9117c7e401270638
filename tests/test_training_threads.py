"""Small trainings take one thread of the CPU, and leave every thread the number that it had."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from recipes import POINTS

from amkd_viz.runs import Job, prepare
from amkd_viz.training import Stepped, events

CE = POINTS.replace(method="ce", epochs=40, magsim_samples=0)


@pytest.fixture(autouse=True)
def two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def born() -> int:
    """What a new thread takes."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_trainings_that_take_turns_put_back_what_the_first_found() -> None:
    one, other = events(prepare(CE)), events(prepare(CE))
    for running in (one, other, one):
        next(running)
        assert (torch.get_num_threads(), born()) == (1, 2)
    one.close()  # type: ignore[attr-defined]
    assert torch.get_num_threads() == 1
    other.close()  # type: ignore[attr-defined]
    assert (torch.get_num_threads(), born()) == (2, 2)


def test_jobs_that_overlap_leave_the_next_one_its_threads(tmp_path: Path) -> None:
    inside: list[int] = []

    def hear(event: object) -> None:
        if isinstance(event, Stepped):
            inside.append(torch.get_num_threads())

    jobs = [Job(CE, tmp_path / name, listen=hear) for name in ("one", "two")]
    for job in jobs:
        job.step()
        assert job.settle(60) == "paused", job.error
        assert (torch.get_num_threads(), born()) == (2, 2)
    for job in jobs:
        job.stop()
        assert job.wait(60) == "idle"
    assert set(inside) == {1}
    assert (torch.get_num_threads(), born()) == (2, 2)
