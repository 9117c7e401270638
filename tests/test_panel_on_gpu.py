"""What a panel shows of a training on a GPU, and that its pictures leave that training alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

pytest.importorskip("anywidget")

from amkd_viz.panels.distill_words import numbers
from amkd_viz.panels.live import LiveStudent, on_cpu
from amkd_viz.runs import prepare
from amkd_viz.training import events
from tests.recipes import POINTS, same


def test_speed_and_memory_of_a_gpu_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveStudent()
    live.training, live.epoch, live.batch, live.batches = prepare(POINTS), 1, 1, 3
    live.training.device = torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: {1: 3 * 2**29}[device.index])
    expected = ["epoch 2/4", "batch 1/3", "1,234 img/s", "1.5 GB on the GPU"]
    assert numbers(live, 1234.4) == "&ensp;".join(expected)
    assert "img/s" not in numbers(live, 0.0)  # while paused


def test_a_picture_is_drawn_from_a_copy_that_no_step_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMKD_VIZ_CACHE", str(tmp_path))
    live, training = LiveStudent(), prepare(POINTS)
    happening = events(training)
    live.hear(next(happening))
    live.want()
    assert live.take() is None  # not before the next batch has ended
    live.hear(next(happening))
    copied = live.take()
    assert copied is not None
    assert same(copied, training.student)
    before = copy.deepcopy(copied)
    next(happening)
    assert same(copied, before)
    assert not same(copied, training.student)
    assert not any(p.requires_grad for p in copied.parameters())
    assert on_cpu(copied) is copied  # on a GPU another copy, so that drawing takes no time of the training
