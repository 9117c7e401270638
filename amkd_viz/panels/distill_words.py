"""A distillation in words: its progress in numbers, as a share of the whole and in a sentence, and its code."""

from __future__ import annotations

import sys
import textwrap
import time
from collections import deque
from contextlib import suppress
from typing import Any

import torch

from amkd_viz.core.errors import InputError
from amkd_viz.panels.live import LiveStudent
from amkd_viz.panels.run_log import RunLog
from amkd_viz.runs import Run
from amkd_viz.training import Recipe
from amkd_viz.views.labels import percent

__all__ = ["Speed", "code_of", "done_share", "numbers", "words"]

CURVES = "\nfrom amkd_viz.views import curves\n\ncurves(run)\n"


class Speed:
    """Training samples per second, over the last few calls."""

    def __init__(self, calls: int = 16) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=calls)

    def update(self, seen: int) -> float:
        """Take the number of samples so far; return the samples per second, 0 at the first call."""
        self._seen.append((time.monotonic(), seen))
        (begun, before), (until, after) = self._seen[0], self._seen[-1]
        return (after - before) / (until - begun) if until > begun else 0.0


def numbers(live: LiveStudent, speed: float) -> str:
    """Return epoch, batch, speed and memory as HTML; speed in samples per second, or 0 to leave it out."""
    training = live.training
    if training is None or not live.batches:
        return ""
    recipe = training.recipe
    parts = [f"epoch {min(live.epoch + 1, recipe.epochs)}/{recipe.epochs}", f"batch {live.batch}/{live.batches}"]
    if speed:
        parts.append(f"{speed:,.0f} img/s")
    return "&ensp;".join([*parts, _memory(training.device)])


def done_share(live: LiveStudent, state: str) -> tuple[str, float]:
    """Return the kind of the status line, and the share that is done of what trains now; -1 if unknown."""
    if state != "running":
        return "idle", -1.0
    if live.teaching is not None:
        return "busy", live.teaching[0] / max(1, live.teaching[1])
    if live.training is None or not live.batches or live.ended:
        return "busy", -1.0
    return "busy", (live.epoch + live.batch / live.batches) / live.training.recipe.epochs


def words(live: LiveStudent, state: str, log: RunLog | None) -> str:
    """Return a sentence on what is happening; ``log`` is that of the run on show."""
    if state in ("paused", "stopping"):
        return f"{state.capitalize()} at epoch {live.epoch + 1}, batch {live.batch}."
    if live.waiting:
        return live.waiting
    if live.teaching is not None and live.teaching[0] >= live.teaching[1]:
        return "Testing the teacher ..."
    if live.teaching is not None:
        return f"Training the teacher once: epoch {live.teaching[0]} of {live.teaching[1]}; it is kept for later."
    if state == "running" and live.training is None:
        return "Loading data and teacher ..."
    if state == "running" and live.ended and live.training is not None:
        return f"Testing on {len(live.training.dataset.test):,} {live.training.dataset.kind} ..."
    if state == "running":
        lines = reversed(log.lines if log is not None else [])
        metrics: dict[str, Any] = next((line["metrics"] for line in lines if line.get("metrics")), {})
        reached = metrics.get("attack.reached_target")
        about = f" Boundary samples: {percent(reached, 0)} reached their target class." if reached is not None else ""
        return f"Training epoch {live.epoch + 1}.{about}"
    return "Ready: press Start." if log is None else f"{log.run.path}: {log.done} of {log.run.recipe.epochs} epochs."


def code_of(run: Run | None, controls: Recipe, imports: str = "", seen: str = "") -> str:
    """Return the code of the run on show, and as a comment what Start would do where the controls differ.

    Args:
        run: None for the controls alone.
        imports, seen: code that draws the student of an epoch of ``run``.
    """
    if run is None:
        return f"from amkd_viz import Recipe, distill\n\n{_distilled(controls)}{CURVES}"
    parent = run.config.get("parent")
    if parent:
        before: dict[str, Any] = {}
        with suppress(InputError):  # it may have been moved, or damaged
            before = Run.open(parent["path"]).recipe_after(parent["epoch"]).to_json()
        changes = "".join(f", {n}={v!r}" for n, v in run.recipe.to_json().items() if v != before.get(n, v))
        made = f"run = resume(fork(Run.open({parent['path']!r}), epoch={parent['epoch']}{changes}))\n"
        text = f"from amkd_viz import Run\nfrom amkd_viz.runs import fork, resume\n\n{made}"
    else:
        text = f"from amkd_viz import Recipe, Run, distill\n\n{_distilled(run.recipe)}"
    if run.interventions():
        text += "\n# with the overrides that were made by hand, at the same batches:\n"
        text += f"from amkd_viz.runs import replay\n\nrun = replay(Run.open({str(run.path)!r}))\n"
    text += f"\n{imports}{CURVES.lstrip()}{seen}"
    if controls != run.recipe:
        text += "\n# Start, with the controls as they stand now, would be another run:\n"
        text += textwrap.indent(_distilled(controls), "# ")
    return text


def _distilled(recipe: Recipe) -> str:
    return f"recipe = {recipe!r}\nrun = distill(recipe)\n"


def _memory(device: torch.device) -> str:
    """Return the peak of the accelerator, or of this process on the CPU; empty if the system does not report it."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GB on the GPU"
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.1f} GB of memory"
