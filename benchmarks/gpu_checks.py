"""What must hold on a GPU, as plain functions: ``tests/test_gpu.py`` and ``benchmarks.gpu`` call them.

Each takes a recipe, whose device may also be a CPU, and returns what it has counted; one that fails raises an error.
"""

from __future__ import annotations

import copy
import gc
import itertools
import queue
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from amkd_viz.data import Augment, Loader
from amkd_viz.runs import Job, prepare
from amkd_viz.training import Recipe, Stepped, Training, logits_on
from amkd_viz.training.clock import Clock
from amkd_viz.training.graph import StepGraph

from .generated import patterns, saved
from .recorder import Waits, as_on_gpu

__all__ = ["CHECKS", "Check", "recipe_for", "wait"]

Facts = dict[str, Any]
Check = Callable[[Recipe], Facts]
SAMPLERS, PRECISIONS = ("bss", "fgsm", "noise"), ("fp32", "bf16")


def recipe_for(device: str, folder: Path) -> Recipe:
    """Return a recipe on generated images: ten batches an epoch, and a teacher that knows most of them."""
    return Recipe(
        dataset=f"npz:{saved(patterns(train=720, test=100, side=16), folder / 'patterns.npz')}",
        teacher="cnn-tiny",
        student="cnn-tiny",
        teacher_epochs=4,
        teacher_batch_size=16,
        epochs=4,
        batch_size=64,
        attack_steps=3,
        step_size=5.0,
        max_boundary_samples=16,
        magsim_samples=0,
        device=device,
    )


def made(recipe: Recipe, graph: bool = True) -> Training:
    """Return a training with static shapes, with or without its graph."""
    training = as_on_gpu(prepare(recipe))
    if not graph:
        training.graph = None
    return training


def wait(device: torch.device) -> None:
    """Wait for all work of a device; a CPU has none left when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def never_waiting(device: torch.device) -> Iterator[None]:
    """Raise an error where the host waits for the device, on a CPU where it would wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
    else:
        with Waits() as waits:
            yield
        assert not waits.found, waits.found


def close(one: Tensor, two: Tensor, most: float) -> float:
    """Return the distance of two tensors over the norm of the second; raise an error above ``most``."""
    apart = float((one - two).norm() / two.norm())
    assert apart <= most, f"{apart:.3g} of the norm apart, at most {most:g} allowed"
    return apart


def loader_never_waits(recipe: Recipe) -> Facts:
    training = made(recipe)
    batches = Loader(training.dataset.train, 20, augment=Augment(), device=training.device).epoch(0)
    next(batches)  # the order travels with the first batch
    with never_waiting(training.device):
        devices = [x.device for x, _, _ in batches]
    assert set(devices) == {training.device}
    return {"batches": len(devices)}


def step_never_waits(recipe: Recipe, graph: bool) -> Facts:
    training = made(recipe, graph)
    batches = training.loader.epoch(0)
    for batch in [next(batches), next(batches)]:
        training.step(*batch)  # libraries set themselves up, and the second step is recorded
    batch = next(batches)
    with never_waiting(training.device):
        training.step(*batch)
    assert training.graph is None or not training.graph.given_up, training.graph.given_up
    return {}


def graph_repeats_the_step(recipe: Recipe) -> Facts:
    """Two trainings side by side, one of them replayed from the third step on."""
    apart = 0.0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Steps are launched")
        graphed = made(recipe)
        usual = as_on_gpu(prepare(recipe, like=graphed))
        usual.graph = None
        assert graphed.graph is not None
        for x, y, index in graphed.loader.epoch(0):
            one, two = graphed.step(x, y, index), usual.step(x, y, index)
            assert (one is graphed.graph._step) == (graphed.batch > 2)
            for name, value in two.terms.items():
                difference = abs(float(one.terms[name]) - float(value))
                assert difference <= 0.02 + 0.05 * abs(float(value)), f"{name}: {one.terms[name]} and {value}"
                apart = max(apart, difference)
    return {"terms apart at most": apart}


def failed_capture_disturbs_no_other_training(recipe: Recipe) -> Facts:
    """A training whose loss reads a value, beside one that is replayed and before one that is recorded."""
    sound, poor = made(recipe), made(recipe)
    plain = poor.loss
    poor.loss = lambda step: plain(step) * step.clean.y.sum().sign().item()  # type: ignore[method-assign]
    poor.graph = StepGraph(poor.graph._recorder, poor.work)
    batches = list(sound.loader.epoch(0))
    for batch in batches[:3]:
        sound.step(*batch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for batch in batches[:3]:
            poor.step(*batch)
    said = [str(w.message) for w in caught if "Steps are launched" in str(w.message)]
    assert len(said) == 1, caught
    assert "it cannot be recorded" in said[0], said
    for batch in batches[3:]:
        for training in (sound, poor):
            assert all(bool(t.isfinite()) for t in training.step(*batch).terms.values())
    again = made(recipe)
    for batch in batches[:3]:
        again.step(*batch)
    for training in (sound, again):
        assert not training.graph.given_up, training.graph.given_up
    return {"said": said[0]}


def device_computes_what_a_cpu_does(recipe: Recipe) -> Facts:
    """The terms of one step, from the same weights and batch; targets of boundary samples are other draws."""
    here, there = made(recipe, graph=False), made(recipe.replace(device="cpu"), graph=False)
    assert here.teacher is not None
    there.student.load_state_dict(here.student.state_dict())
    there.nets["teacher"] = copy.deepcopy(here.teacher).cpu()
    batch = next(there.loader.epoch(0))
    one, two = here.step(*(part.to(here.device) for part in batch)), there.step(*batch)
    assert one.batch("boundary").first is not None  # static shapes
    assert float(one.metrics["attack.crossed"]) > 0.2  # there is something to compare
    apart = {name: abs(float(one.terms[name]) - float(value)) for name, value in two.terms.items()}
    for name, value in apart.items():
        assert value <= (0.5 if "boundary" in name else 0.02 + 0.02 * abs(float(two.terms[name]))), apart
    return {"terms apart": apart}


def autocast_stays_near_float32(recipe: Recipe) -> Facts:
    """Logits and gradients of one step of plain KD in bfloat16, against float32."""
    logits, gradients, batch = [], [], None
    for precision in PRECISIONS:
        training = made(recipe.replace(method="kd", precision=precision), graph=False)
        batch = next(training.loader.epoch(0)) if batch is None else batch
        step = training.step(*batch)
        assert step.outputs().logits.dtype == torch.float32
        logits.append(step.outputs().logits.detach())
        gradients.append(torch.cat([p.grad.flatten().float() for p in training.parameters if p.grad is not None]))
    assert not torch.equal(*logits)  # bfloat16 was used
    return {"logits apart": close(logits[1], logits[0], 0.1), "gradients apart": close(gradients[1], gradients[0], 0.2)}


def clock_counts_the_work_of_the_device(recipe: Recipe) -> Facts:
    """Seconds of a clock are above 0 and within those until the device has finished."""
    device = torch.device(recipe.device)
    x = torch.rand(1024, 1024, device=device)
    (x @ x).sum()
    wait(device)
    clock, begun = Clock(device), time.perf_counter()
    with clock.step():
        for _ in range(20):
            x = x @ x / 1024
    wait(device)
    whole = time.perf_counter() - begun
    assert 0 < clock.seconds <= whole, (clock.seconds, whole)
    assert clock.median == clock.seconds
    return {"seconds": clock.seconds, "until the device has finished": whole}


def maps_beside_a_training(recipe: Recipe) -> Facts:
    """Another thread evaluates copies of the student on its device, taken between two batches as a panel takes them."""
    like = made(recipe)
    seconds, students, drawn = {}, [], 0
    for beside in (False, True):
        training = as_on_gpu(prepare(recipe, like=like))
        copies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        ended, errors = threading.Event(), []

        def draw(copies: Any = copies, ended: threading.Event = ended, errors: list[Any] = errors) -> None:
            try:
                while not ended.is_set():
                    with suppress(queue.Empty):
                        assert bool(logits_on(copies.get(timeout=0.05), like.dataset.test).isfinite().all())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=draw)
        thread.start()
        for epoch in range(2):
            for batch in training.loader.epoch(epoch):
                training.step(*batch)
                if beside:
                    copies.put(copy.deepcopy(training.student).requires_grad_(False).eval())
                    drawn += 1
            training.epoch, training.batch = epoch + 1, 0
        wait(training.device)
        ended.set()
        thread.join()
        assert not errors, errors
        assert not training.graph.given_up, training.graph.given_up
        seconds["beside maps" if beside else "alone"] = training.clock.seconds
        students.append(torch.cat([p.detach().flatten() for p in training.student.parameters()]))
    return {"weights apart": close(students[1], students[0], 0.05), "maps": drawn, "seconds of the steps": seconds}


def two_trainings_in_two_threads(recipe: Recipe) -> Facts:
    """Each is recorded and replayed while the other one is."""
    trainings = [made(recipe.replace(seed=seed)) for seed in (0, 1)]
    errors: list[BaseException] = []

    def train(training: Training) -> None:
        try:
            for batch in training.loader.epoch(0):
                assert all(bool(t.isfinite()) for t in training.step(*batch).terms.values())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train, args=(training,)) for training in trainings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    for training in trainings:
        assert not training.graph.given_up, training.graph.given_up
    return {"steps": sum(training.batch for training in trainings)}


def job_stops_within_a_batch(recipe: Recipe) -> Facts:
    """Batches that end after ``stop``, and the seconds until the thread has ended, its checkpoint included."""
    made(recipe)  # trains the teacher
    ends: list[float] = []
    several = threading.Event()

    def listen(event: object) -> None:
        if isinstance(event, Stepped):
            ends.append(time.perf_counter())
            if len(ends) == 5:
                several.set()

    with tempfile.TemporaryDirectory() as folder:
        job = Job(recipe.replace(epochs=1000), Path(folder, "run"), listen=listen)
        job.start()
        assert several.wait(120), job.error
        job.stop()
        at, begun = len(ends), time.perf_counter()
        assert job.wait(120) == "idle", job.error
        took, more = time.perf_counter() - begun, len(ends) - at
        assert more <= 1, f"{more} batches after the stop"
        assert list(Path(folder, "run", "checkpoints").iterdir())
    return {"batches after the stop": more, "seconds to stop": took, "of a batch": (ends[-1] - ends[0]) / len(ends)}


def recordings_are_given_back(recipe: Recipe) -> Facts:
    """Bytes in the private pools of CUDA graphs, after three more trainings have been recorded and closed."""
    like = made(recipe)  # holds data and teacher

    def train() -> None:
        training = as_on_gpu(prepare(recipe, like=like))
        for batch, _ in zip(training.loader.epoch(0), range(4), strict=False):
            training.step(*batch)
        assert training.graph._step is not None
        training.close()
        assert training.graph._step is None

    def held() -> int:
        gc.collect()
        if like.device.type == "cpu":
            return 0
        wait(like.device)
        torch.cuda.empty_cache()
        segments = torch.cuda.memory_snapshot()
        return sum(s["total_size"] for s in segments if tuple(s["segment_pool_id"]) != (0, 0))

    train()
    before = held()
    for _ in range(3):
        train()
    after = held()
    assert after <= before, f"{after - before} bytes more"
    return {"bytes": after, "reserved": torch.cuda.memory_reserved() if like.device.type == "cuda" else 0}


CHECKS: dict[str, Check] = {
    "the loader never waits": loader_never_waits,
    **{
        f"a step never waits: {sampler}, {precision}, {'graph' if graph else 'kernels'}": (
            lambda recipe, s=sampler, p=precision, g=graph: step_never_waits(recipe.replace(sampler=s, precision=p), g)
        )
        for sampler, precision, graph in itertools.product(SAMPLERS, PRECISIONS, (True, False))
    },
    **{
        f"the graph repeats the step: {sampler}, {precision}": (
            lambda recipe, s=sampler, p=precision: graph_repeats_the_step(recipe.replace(sampler=s, precision=p))
        )
        for sampler, precision in itertools.product(SAMPLERS, PRECISIONS)
    },
    "a failed capture disturbs no other training": failed_capture_disturbs_no_other_training,
    "the device computes what a CPU does": device_computes_what_a_cpu_does,
    "autocast stays near float32": autocast_stays_near_float32,
    "the clock counts the work of the device": clock_counts_the_work_of_the_device,
    "maps beside a training": maps_beside_a_training,
    "two trainings in two threads": two_trainings_in_two_threads,
    "a job stops within a batch": job_stops_within_a_batch,
    "recordings are given back": recordings_are_given_back,
}
