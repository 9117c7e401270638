"""A training step as a CUDA graph: launched as a whole instead of kernel by kernel, with the same numbers."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from amkd_viz.core.pauses import without_pauses
from amkd_viz.core.rng import defaults_seeded
from amkd_viz.objectives import Step

__all__ = ["CudaRecorder", "Recorder", "StepGraph", "Work"]

R = TypeVar("R")
CLOSE = 0.05  # of the norm: what bfloat16 and sums in another order may do to logits and gradients
SAME = 0.9  # of the boundary samples come from the same image and go to the same class
# a capture finds its generators itself, and gives back what it holds where it fails
NEWER = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)


class Recorder(Protocol):
    """Records a piece of work and replays it, on the same places in memory and without Python."""

    def aside(self, work: Callable[[], R]) -> R:
        """Do the work once on the stream that records, so that libraries and autograd are set up there."""

    def record(self, work: Callable[[], R]) -> R:
        """Record the work without doing it; return its result, whose tensors hold nothing yet."""

    def replay(self) -> None:
        """Do the recorded work."""

    def forget(self) -> None:
        """Free the recording and its memory."""


class CudaRecorder:
    """A CUDA graph that is captured on a stream of its own and launched on the caller's.

    Args:
        generator: the RNG of the work; its seed before a replay holds for that replay.
    """

    _one_by_one = threading.RLock()  # a capture does not bear another one, or a replay, in another thread
    _broken: list[Any] = []  # noqa: RUF012  # captures that failed before 2.14, without their memory: see _give_back

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self._stream, self._generator = torch.cuda.Stream(device), generator
        self._graph: torch.cuda.CUDAGraph | None = None

    def aside(self, work: Callable[[], R]) -> R:
        # autograd's leaves remember the stream they were first used on, and the default one cannot be captured
        here = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(here)
        try:
            with torch.cuda.stream(self._stream):
                return work()
        finally:
            here.wait_stream(self._stream)

    def record(self, work: Callable[[], R]) -> R:
        self.forget()
        pool = torch.cuda.graph_pool_handle()
        # before PyTorch 2.14 no other thread may draw from the default RNGs during a capture, as steps with dropout do
        alone = defaults_seeded(0, ())
        with alone, self._one_by_one, torch.cuda.device(self._stream.device), _no_collection():
            graph = torch.cuda.CUDAGraph()
            try:
                result = self._capture(graph, work, pool)
            except BaseException:
                self._give_back(graph, pool)
                raise
        self._graph = graph
        return result

    def replay(self) -> None:
        assert self._graph is not None
        with self._one_by_one:
            self._graph.replay()

    def forget(self) -> None:
        with self._one_by_one:
            self._graph = None

    def _capture(self, graph: torch.cuda.CUDAGraph, work: Callable[[], R], pool: Any = None) -> R:
        if not NEWER:
            graph.register_generator_state(self._generator)
        # other threads (live pictures) may use the GPU meanwhile; the outer context holds where a capture fails
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            return work()

    def _give_back(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        """Free a capture that failed, and its memory.

        Before PyTorch 2.14 the allocator stays in its state of capture and keeps the pool, and the allocator of pinned
        memory may still ask the graph, so that this small object must outlive the process's other work. All generators
        stay in their state of capture too; a capture that succeeds puts them back. Where only the work failed, as by an
        interrupt, the capture has ended as usual, and the graph releases its pool itself: twice would end the process.
        """
        device = self._stream.device
        if NEWER or _ended(graph):
            graph.reset()
        else:
            self._broken.append(graph)
            for undo in (torch._C._cuda_endAllocateToPool, torch._C._cuda_releasePool):
                with suppress(RuntimeError):  # done already
                    undo(device.index, pool)
        with suppress(RuntimeError):
            self._capture(torch.cuda.CUDAGraph(), lambda: torch.zeros((), device=device))


def _ended(graph: torch.cuda.CUDAGraph) -> bool:
    """Return whether a capture has ended as usual."""
    try:
        graph.pool()
    except RuntimeError:
        return False
    return True


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage in this context: collecting a CUDA graph would end a capture."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@dataclass(frozen=True)
class Work:
    """What a training step does, as functions.

    Attributes:
        new_step: (x, y, index) -> a step of which nothing is computed yet.
        compute: computes loss and gradients of a step as usual. loss: computes its loss alone.
        reseed: starts the RNGs of the step anew. keep: keeps the batch statistics; what it returns puts them back.
        note: takes a sentence for the user. parameters: of all that learns.
    """

    new_step: Callable[[Tensor, Tensor, Tensor], Step]
    compute: Callable[[Step], Step]
    loss: Callable[[Step], Tensor]
    reseed: Callable[[], None]
    keep: Callable[[], Callable[[], None]]
    note: Callable[[str], None]
    parameters: Sequence[Tensor]


class StepGraph:
    """The forward and backward pass of training steps, replayed where steps are alike.

    Steps are alike when batch shape, terms with a weight and all Python values that they may read are; weights, data
    and random numbers may differ. Of such steps the first is computed as usual; the second is recorded, replayed,
    computed as usual too, and compared; the others are replayed. A step that has read its progress is recorded again
    when that changes. Where the two computations disagree, or the work cannot be recorded (it reads values), a warning
    and a note give the reason, once, and all steps are computed as usual.

    The ``Step`` of a replay is always the same one: its tensors hold until the next step.
    """

    def __init__(self, recorder: Recorder, work: Work) -> None:
        self._recorder = recorder
        self._work = work
        self._kind: object = None
        self._step: Step | None = None
        self._gradients: list[Tensor | None] = []
        self._filled: dict[str, float] = {}  # weights that are on the device already
        self.given_up = ""  # why

    def __call__(
        self, x: Tensor, y: Tensor, index: Tensor, weights: dict[str, float], progress: float, kind: object
    ) -> Step:
        """Compute loss and gradients of a batch, as ``Work.compute`` leaves them.

        Args:
            weights: of the live terms, by label. progress: of the step. kind: equal for steps that are alike, batch
                shapes and progress aside.
        """
        batch = (x, y, index)
        kind = (x.shape, x.dtype, tuple(weights), kind)

        def as_usual() -> Step:
            return self._work.compute(self._work.new_step(*batch))

        if self.given_up:
            return self._recorder.aside(as_usual)
        if kind != self._kind:
            self._kind, self._step = kind, None
            return self._recorder.aside(as_usual)
        if self._step is not None and self._step.progress_read and self._step.progress != progress:
            self._step = None
        if self._step is not None:
            return self._replay(self._step, batch, weights)
        put_back = self._work.keep()
        recorded, replayed = None, None
        try:
            recorded = self._record(batch, weights, put_back)
            self._work.reseed()
            replayed = self._fingerprint(self._replay(recorded, batch, weights))
        except RuntimeError as error:
            cause = str(error.__context__ or error).splitlines() or [type(error).__name__]
            self.given_up = f"it cannot be recorded: {cause[0]}"
        put_back()
        self._work.reseed()
        step = self._recorder.aside(as_usual)
        if replayed is not None and not _alike(replayed, self._fingerprint(step)):
            self.given_up = "its replay gives other numbers"
        if self.given_up:
            self.forget()
            text = f"Steps are launched kernel by kernel: as a CUDA graph, {self.given_up}."
            self._work.note(text)
            warnings.warn(text, stacklevel=4)
        else:
            self._step = recorded
        return step

    def forget(self) -> None:
        """Free the recording; the next steps are recorded again."""
        self._kind, self._step, self._gradients = None, None, []
        self._recorder.forget()

    def _record(self, batch: tuple[Tensor, ...], weights: dict[str, float], put_back: Callable[[], None]) -> Step:
        def made() -> Step:
            step = self._work.new_step(*(part.clone(memory_format=torch.preserve_format) for part in batch))
            step.weights = {name: torch.full((), w, device=batch[0].device) for name, w in weights.items()}
            for p in self._work.parameters:
                p.grad = None  # so that the recorded work makes them
            return step

        with without_pauses():
            # weights are tensors here, so some kernels are new, and a capture may not load them
            self._recorder.aside(lambda: self._work.loss(made()).backward())
            put_back()
            step = made()
            self._recorder.record(lambda: self._work.loss(step).backward())
        self._filled = dict(weights)
        self._gradients = [p.grad for p in self._work.parameters]
        return step

    def _replay(self, step: Step, batch: tuple[Tensor, ...], weights: dict[str, float]) -> Step:
        for place, value in zip((step.clean.x, step.clean.y, step.clean.index), batch, strict=True):
            place.copy_(value)
        for name, weight in weights.items():
            if weight != self._filled[name]:
                step.weights[name].fill_(weight)
        self._filled = dict(weights)
        self._recorder.replay()
        for p, gradient in zip(self._work.parameters, self._gradients, strict=True):
            p.grad = gradient
        return step

    def _fingerprint(self, step: Step) -> dict[str, Tensor]:
        """Return a copy of the numbers that tell whether two computations of a step agree."""
        kept = {"logits": step.outputs().logits.detach().clone()}
        gradients = [p.grad.flatten() for p in self._work.parameters if p.grad is not None]
        if gradients:
            kept["gradients"] = torch.cat(gradients).float()
        boundary = step.made("boundary")
        if boundary is not None and boundary.samples is not None:
            kept["samples"] = torch.stack([boundary.index, boundary.samples.target]).clone()
        return kept


def _alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Return whether two fingerprints agree; waits for the device."""
    if a.keys() != b.keys():
        return False
    near = all(bool((a[n] - b[n]).norm() <= CLOSE * b[n].norm()) for n in ("logits", "gradients") if n in a)
    return near and ("samples" not in a or float((a["samples"] == b["samples"]).all(0).float().mean()) >= SAME)
