"""How the kernels of a training step are launched: as our CUDA graph, by torch.compile, or one by one."""

from __future__ import annotations

import copy

import torch

from amkd_viz.objectives import Step
from amkd_viz.runs import prepare
from amkd_viz.training import Training

from .recorder import as_on_gpu

__all__ = ["LAUNCHES", "launched"]

LAUNCHES = ("graph", "compile", "kernels")


def launched(training: Training, how: str, backend: str = "inductor") -> Training:
    """Return a training that stands at the same student as ``training``, with static shapes.

    Args:
        how: "graph" (recorded as a whole from the second step on), "compile" (the backbones by
            ``torch.compile(mode="reduce-overhead")``, which makes CUDA graphs of its own), or "kernels".
    """
    made = as_on_gpu(prepare(training.recipe, like=training))
    made.student.load_state_dict(training.student.state_dict())
    if how == "graph":
        return made
    made.graph = None
    if how == "compile":
        for name, net in made.nets.items():
            if name not in made.learning:  # shared with other trainings
                made.nets[name] = copy.deepcopy(net)
            mode = {"mode": "reduce-overhead"} if backend == "inductor" else {}  # others have no modes
            made.nets[name].body.compile(backend=backend, dynamic=False, **mode)
        compute = made.compute

        def one_more(step: Step) -> Step:
            torch.compiler.cudagraph_mark_step_begin()  # outputs of the step before may be overwritten
            return compute(step)

        made.compute = one_more  # type: ignore[method-assign]
    return made
