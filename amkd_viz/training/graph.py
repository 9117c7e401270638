"""A training step as a CUDA graph: launched as a whole instead of kernel by kernel, with the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor

from amkd_viz.objectives import Step
from amkd_viz.pauses import without_pauses

if TYPE_CHECKING:
    from amkd_viz.training.setup import Training

__all__ = ["CudaRecorder", "Recorder", "StepGraph"]

R = TypeVar("R")
CLOSE = 0.05  # of the norm: what bfloat16 and sums in another order may do to logits and gradients
SAME = 0.9  # of the boundary samples come from the same image and go to the same class


class Recorder(Protocol):
    """What can do a piece of work again, on the same places in memory and without Python."""

    def aside(self, work: Callable[[], R]) -> R:
        """Do the work once where it will be recorded, so that libraries and autograd are set up there."""

    def record(self, work: Callable[[], R]) -> R:
        """Note the work without doing it; returns its result, whose tensors hold nothing yet."""

    def replay(self) -> None:
        """Do the work that was noted last."""


class CudaRecorder:
    """A CUDA graph that is captured on a stream of its own and launched on the caller's.

    Args:
        generator: of all chance in the work; what it is seeded with before a replay holds for that replay.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self._stream, self._generator = torch.cuda.Stream(device), generator
        self._graph: torch.cuda.CUDAGraph | None = None

    def aside(self, work: Callable[[], R]) -> R:
        # autograd's leaves remember the stream they were first used on, and the default one cannot be captured
        here = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            result = work()
        here.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], R]) -> R:
        self._graph = graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        # other threads (live pictures) may use the GPU meanwhile; the outer context holds where a capture fails
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
        ):
            return work()

    def replay(self) -> None:
        assert self._graph is not None
        self._graph.replay()


class StepGraph:
    """The forward and backward pass of a ``Training``'s steps, replayed where they are all alike.

    Steps are alike when batch shape, terms with a weight, their fields and the attack are; weights, data and chance
    may differ. Of such steps the first is computed as usual, the second recorded, replayed, computed as usual too, and
    compared; the others are replayed. Where the two disagree, or the work cannot be recorded (a sampler that looks at
    values), a warning tells why, once, and all steps are computed as usual.

    The ``Step`` of a replay is always the same one: its tensors hold until the next step.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._kind: Hashable = None
        self._step: Step | None = None
        self._gradients: list[Tensor | None] = []
        self._told: dict[str, float] = {}  # weights that are on the device already
        self.given_up = ""  # why

    def __call__(self, training: Training, x: Tensor, y: Tensor) -> Step:
        """Loss and gradients of a batch, as ``Training.compute`` leaves them."""
        weights = {name: w for name, w in training.objective.weights(training.progress).items() if w}
        fields = tuple(term for term, _ in training.objective.summands)
        kind = (x.shape, x.dtype, tuple(weights), fields, training.attack)

        def as_usual() -> Step:
            return training.compute(training.new_step(x, y))

        if self.given_up or training.attack.sampler == "deepfool":  # which looks at values
            return as_usual()
        if kind != self._kind:
            self._kind, self._step = kind, None
            return self._recorder.aside(as_usual)
        if self._step is not None:
            return self._replay(training, x, y, weights)
        kept = [(buffer, buffer.clone()) for buffer in training.student.buffers()]
        try:
            self._record(training, x, y, weights)
            training.seed_chance()
            replayed = _fingerprint(self._replay(training, x, y, weights))
        except RuntimeError as error:
            replayed, self.given_up = None, f"it cannot be recorded: {str(error).splitlines()[0]}"
        for buffer, value in kept:
            buffer.copy_(value)
        training.seed_chance()
        step = self._recorder.aside(as_usual)
        if replayed is not None and not _alike(replayed, _fingerprint(step)):
            self.given_up = "replayed, it says something else"
        if self.given_up:
            self._step = None
            warnings.warn(f"Steps are launched one by one, since as a CUDA graph {self.given_up}.", stacklevel=4)
        return step

    def _record(self, training: Training, x: Tensor, y: Tensor, weights: dict[str, float]) -> None:
        step = training.new_step(x.clone(memory_format=torch.preserve_format), y.clone())
        step.weights = {name: torch.full((), w, device=x.device) for name, w in weights.items()}
        for p in training.parameters:
            p.grad = None  # so that the recorded work makes them
        with without_pauses():
            self._recorder.record(lambda: training.loss(step).backward())
        self._told = dict(weights)
        self._gradients = [p.grad for p in training.parameters]
        self._step = step

    def _replay(self, training: Training, x: Tensor, y: Tensor, weights: dict[str, float]) -> Step:
        step = self._step
        assert step is not None
        step.x.copy_(x)
        step.y.copy_(y)
        for name, weight in weights.items():
            if weight != self._told[name]:
                step.weights[name].fill_(weight)
        self._told = dict(weights)
        self._recorder.replay()
        for p, gradient in zip(training.parameters, self._gradients, strict=True):
            p.grad = gradient
        return step


def _fingerprint(step: Step) -> dict[str, Tensor]:
    """What tells whether two computations of a step were the same one, copied."""
    told = {"logits": step.student_clean.logits.detach().clone()}
    found = [p.grad.flatten() for p in step.student.parameters() if p.grad is not None]
    if found:
        told["gradients"] = torch.cat(found).float()
    boundary = step.__dict__.get("boundary")
    if boundary is not None:
        told["samples"] = torch.stack([boundary.index, boundary.samples.target]).clone()
    return told


def _alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two fingerprints agree; waits for the device."""
    if a.keys() != b.keys():
        return False
    near = all(bool((a[n] - b[n]).norm() <= CLOSE * b[n].norm()) for n in ("logits", "gradients") if n in a)
    return near and ("samples" not in a or float((a["samples"] == b["samples"]).all(0).float().mean()) >= SAME)
