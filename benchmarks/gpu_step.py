"""The step on a GPU: against the published one, launched in three ways, and what bounds the attack."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from amkd_viz.boundary import bss
from amkd_viz.models import load_teacher
from amkd_viz.training import Recipe, Training
from amkd_viz.training.graph import CudaRecorder

from .gpu_checks import PRECISIONS, wait
from .launch import launched
from .published import published_loss
from .recorder import CpuRecorder
from .step import trainings
from .timing import quartiles, ratio

__all__ = ["compiled", "not_possible", "pieces"]

Run = Callable[[], object]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
HALF = 0.5  # of the time: a bound that explains less does not hold


def timed(runs: dict[str, Run], count: int, device: torch.device, repeat: int = 5) -> dict[str, list[float]]:
    """Seconds of each in ``count`` rounds after one to warm up, the device waited for before and after."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count + 1):
        for name, run in runs.items():
            wait(device)
            begun = time.perf_counter()
            for _ in range(repeat):
                run()
            wait(device)
            if number:
                took[name].append((time.perf_counter() - begun) / repeat)
    return took


def captured(run: Run, device: torch.device) -> Run:
    """The same work as a graph: inputs and results stay where they are in memory."""
    on_gpu = device.type == "cuda"
    recorder = CudaRecorder(device, torch.Generator(device)) if on_gpu else CpuRecorder(list)
    for _ in range(3):
        recorder.aside(run)
    recorder.record(run)
    return recorder.replay


def ceilings(device: torch.device, rounds: int, size: int) -> dict[str, float]:
    """Operations and bytes a second, measured: a large product, the net's own convolutions, and a large copy."""
    big = torch.empty(16 * size**2, device=device, dtype=torch.uint8)
    runs: dict[str, Run] = {"copy": lambda: big.clone()}
    for name, dtype in DTYPES.items():
        a = torch.randn(size, size, device=device, dtype=dtype)
        x = torch.randn(256, 16, 32, 32, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        w = torch.randn(16, 16, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        runs[f"product {name}"] = lambda a=a: a @ a
        runs[f"convolution {name}"] = lambda x=x, w=w: F.conv2d(x, w, padding=1)
    best = {name: min(values) for name, values in timed(runs, rounds, device).items()}
    found = {"bytes/s": 2 * big.nbytes / best["copy"]}
    for name in DTYPES:
        found[f"FLOP/s {name}"] = 2 * size**3 / best[f"product {name}"]
        found[f"FLOP/s {name}, convolutions of stage 1"] = 2 * 9 * 256 * (16 * 32) ** 2 / best[f"convolution {name}"]
    return found


class Cost(TorchDispatchMode):
    """Counts operations of products and convolutions, and bytes if each kernel reads its inputs and writes results."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.operations += formula(*args, **(kwargs or {}), out_val=result)
        if not func.is_view:
            used = tree_flatten((args, kwargs, result))[0]
            self.bytes += sum(t.nbytes for t in used if isinstance(t, Tensor))
        return result


def joined(device: torch.device, rounds: int) -> dict[str, object]:
    """Whether a convolution with sum and ReLU in one kernel would pay: the time of three kernels over that of one."""
    x = torch.randn(64, 16, 32, 32, device=device, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    w = torch.randn(16, 16, 3, 3, device=device, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    b, plus, one = torch.zeros(16, device=device, dtype=torch.bfloat16), torch.randn_like(x), (1, 1)
    singly = lambda: F.conv2d(x, w, b, padding=1).add_(plus).relu_()  # noqa: E731
    fused = lambda: torch.cudnn_convolution_add_relu(x, w, plus, 1.0, b, one, one, one, 1)  # noqa: E731
    try:
        torch.testing.assert_close(fused(), singly(), rtol=0.05, atol=0.1)
        took = timed({"singly": captured(singly, device), "fused": captured(fused, device)}, rounds, device, repeat=100)
    except (RuntimeError, AssertionError) as error:
        return not_possible(error)
    return ratio(took["singly"], took["fused"])


def at(recipe: Recipe, most: dict[str, float], rounds: int, warm_up: int) -> dict[str, Any]:
    """Steps and attack in the precision of a recipe, against the published step in float32."""
    made = trainings(recipe, warm_up)
    device, precision = made["kd"].device, recipe.precision
    batch = x, y, _ = next(iter(made["kd"].loader.epoch(1)))
    old_teacher = load_teacher(recipe.teacher).to(device).requires_grad_(True)
    old_student = copy.deepcopy(made["kd"].student).to(memory_format=torch.contiguous_format).train()
    old_optimiser, draws = torch.optim.SGD(old_student.parameters(), 1e-6, 0.9, weight_decay=1e-4), torch.rand(len(x))

    def published() -> None:
        old_optimiser.zero_grad()
        published_loss(old_teacher, old_student, x, y, draws, 1 / 80).backward()
        old_optimiser.step()

    ours = {f"{method}, {how}": launched(t, how) for method, t in made.items() for how in ("graph", "kernels")}
    samples = ours["amkd, kernels"].step(*batch).batch("boundary").samples
    assert samples is not None
    start, target, teacher = samples.origin, samples.target, made["amkd"].teacher
    assert teacher is not None

    def attack() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            bss(teacher, start, target, compact=False, check=False)

    runs: dict[str, Run] = {"published": published, "attack, kernels": attack}
    runs |= {name: lambda t=t: t.step(*batch) for name, t in ours.items()}
    try:
        runs["attack, graph"] = captured(attack, device)
    except RuntimeError as error:
        print(f"The attack could not be captured: {error}")
    took = timed(runs, rounds, device)
    with Cost() as cost:
        attack()
    fastest = {name: min(values) for name, values in took.items()}
    return {
        "attacked": len(start),
        "published step over ours": {name: ratio(took["published"], took[name]) for name in ours},
        "seconds": {name: quartiles(values) for name, values in took.items()},
        "why a graph is not used": {name: t.graph.given_up for name, t in ours.items() if t.graph and t.graph.given_up},
        "attack": {"operations": cost.operations, "bytes": cost.bytes},
        "bounds": {n: bounds(cost, s, most, precision) for n, s in fastest.items() if n.startswith("attack")},
    }


def bounds(cost: Cost, seconds: float, most: dict[str, float], precision: str) -> dict[str, Any]:
    """The share of each measured ceiling, and which bound holds: neither of both means many small kernels."""
    shares = {
        "of the product": cost.operations / seconds / most[f"FLOP/s {precision}"],
        "of convolutions of stage 1": cost.operations / seconds / most[f"FLOP/s {precision}, convolutions of stage 1"],
        "of the copy": cost.bytes / seconds / most["bytes/s"],
    }
    highest = max(shares, key=lambda name: shares[name])
    holds = highest if shares[highest] >= HALF else "neither: latency of small kernels"
    return {"share": {name: float(f"{share:.3g}") for name, share in shares.items()}, "bound": holds}


def compiled(recipe: Recipe, dry: bool) -> dict[str, Any]:
    """An AMKD step compiled with ``mode="reduce-overhead"`` against our graph, and how long it takes to compile."""
    rounds, warm_up, _ = sizes(dry)
    made = trainings(recipe, warm_up)["amkd"]
    batch = next(iter(made.loader.epoch(1)))
    begun = time.perf_counter()
    try:
        both = {how: launched(made, how) for how in ("graph", "compile")}
        terms = {how: one_step(t, batch) for how, t in both.items()}
        first = time.perf_counter() - begun
        runs: dict[str, Run] = {how: lambda t=t: t.step(*batch) for how, t in both.items()}
        took = timed(runs, rounds, made.device)
    except Exception as error:  # a missing C++ compiler, a CUDA graph that was overwritten, ...
        return not_possible(error)
    times = ratio(took["compile"], took["graph"])
    return {"compiled step over that of our graph": times, "terms": terms, "seconds of both first steps": first}


def not_possible(error: Exception) -> dict[str, str]:
    return {"not possible": (str(error).splitlines() or [type(error).__name__])[0]}


def one_step(training: Training, batch: Any) -> dict[str, float]:
    return {name: float(value) for name, value in training.step(*batch).terms.items()}


def sizes(dry: bool) -> tuple[int, int, int]:
    """Return numbers of rounds and of steps to warm up, and the side of the large product."""
    return (1, 3, 128) if dry else (9, 200, 8192)


def pieces(recipe: Recipe, dry: bool) -> Iterator[tuple[str, Callable[[dict[str, Any]], Any]]]:
    """Yield what is measured, by name: functions of the results so far."""
    device = torch.device(recipe.device)
    rounds, warm_up, size = sizes(dry)
    yield "ceilings", lambda found: ceilings(device, rounds, size)
    for precision in reversed(PRECISIONS):
        own = recipe.replace(precision=precision)
        yield precision, lambda found, own=own: at(own, found["ceilings"], rounds, warm_up)
    yield "three kernels over one that joins them", lambda found: joined(device, rounds)
