"""The step on a GPU: against the published one, with and without its CUDA graph, and what bounds the attack.

    python -m benchmarks.gpu --root DATA --teacher resnet26_cifar10.safetensors

torch and numpy suffice. CIFAR-10, ResNet-26 -> ResNet-8, batch 256, 64 attacked; some minutes.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from . import plain  # noqa: F401  # before the library, which imports safetensors
from .ceiling import PASS
from .published import published_loss
from .step import trainings
from .students import write_result
from .timing import quartiles, ratio

if TYPE_CHECKING:
    from amkd_viz.training import Training


def timed(runs: dict[str, Callable[[], object]], count: int, repeat: int = 5) -> dict[str, list[float]]:
    """Seconds of each in ``count`` rounds after one to warm up, the device waited for before and after."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(count + 1):
        for name, run in runs.items():
            torch.cuda.synchronize()
            begun = time.perf_counter()
            for _ in range(repeat):
                run()
            torch.cuda.synchronize()
            if number:
                took[name].append((time.perf_counter() - begun) / repeat)
    return took


def captured(run: Callable[[], object]) -> Callable[[], object]:
    """The same work as a CUDA graph: inputs and results stay where they are in memory."""
    from amkd_viz.training.graph import CudaRecorder

    recorder = CudaRecorder(torch.device("cuda"), torch.Generator("cuda"))
    for _ in range(3):
        recorder.aside(run)
    recorder.record(run)
    return recorder.replay


def without_graph(training: Training) -> Training:
    """The same training, whose steps are launched kernel by kernel."""
    from amkd_viz.runs import prepare

    made = prepare(training.recipe, like=training)
    made.student.load_state_dict(training.student.state_dict())
    made.graph = None
    return made


def joined() -> dict[str, object]:
    """Whether a convolution with sum and ReLU in one kernel would pay: the time of three kernels over that of one."""
    x = torch.randn(64, 16, 32, 32, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    w = torch.randn(16, 16, 3, 3, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    b, plus, one = torch.zeros(16, device="cuda", dtype=torch.bfloat16), torch.randn_like(x), (1, 1)
    singly = lambda: F.conv2d(x, w, b, padding=1).add_(plus).relu_()  # noqa: E731
    fused = lambda: torch.cudnn_convolution_add_relu(x, w, plus, 1.0, b, one, one, one, 1)  # noqa: E731
    try:
        torch.testing.assert_close(fused(), singly(), rtol=0.05, atol=0.1)
        took = timed({"singly": captured(singly), "fused": captured(fused)}, 9, repeat=100)
    except (RuntimeError, AssertionError) as error:
        return {"not possible": str(error).splitlines()[0]}
    return ratio(took["singly"], took["fused"])


def ceilings() -> dict[str, float]:
    """bf16 operations and bytes a second, measured: a large product, the net's own convolutions, and a large copy."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    big = torch.empty(2**30, device="cuda", dtype=torch.uint8)
    x = torch.randn(256, 16, 32, 32, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    w = torch.randn(16, 16, 3, 3, device="cuda", dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    took = timed({"product": lambda: a @ a, "copy": lambda: big.clone(), "conv": lambda: F.conv2d(x, w, padding=1)}, 9)
    best = {name: min(values) for name, values in took.items()}
    return {
        "bf16 FLOP/s": 2 * 8192**3 / best["product"],
        "bf16 FLOP/s, convolutions of stage 1": 2 * 9 * 256 * (16 * 32) ** 2 / best["conv"],
        "bytes/s": 2 * 2**30 / best["copy"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    args = parser.parse_args()
    begun = time.time()
    if not torch.cuda.is_available():
        raise SystemExit("This measures a GPU, and torch sees none here.")

    from amkd_viz.boundary import bss
    from amkd_viz.models import load_teacher

    made = trainings(args.root, args.teacher, warm_up=200, precision="bf16", device="cuda")
    batch = x, y, _ = next(iter(made["kd"].loader.epoch(1)))
    old_teacher = load_teacher(args.teacher).cuda().requires_grad_(True)
    old_student = copy.deepcopy(made["kd"].student).to(memory_format=torch.contiguous_format).train()
    old_optimiser, draws = torch.optim.SGD(old_student.parameters(), 1e-6, 0.9, weight_decay=1e-4), torch.rand(len(x))

    def published() -> None:
        old_optimiser.zero_grad()
        published_loss(old_teacher, old_student, x, y, draws, 1 / 80).backward()
        old_optimiser.step()

    samples = made["amkd"].step(*batch).batch("boundary").samples
    assert samples is not None
    start, target, teacher = samples.origin, samples.target, made["amkd"].teacher
    assert teacher is not None

    def attack() -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            bss(teacher, start, target, check=False)

    runs: dict[str, Callable[[], object]] = {"published": published}
    runs |= {method: lambda t=t: t.step(*batch) for method, t in made.items()}  # type: ignore[misc]
    single = {f"{method} without its graph": without_graph(t) for method, t in made.items()}
    runs |= {name: lambda t=t: t.step(*batch) for name, t in single.items()}  # type: ignore[misc]
    runs["attack"] = attack
    try:
        runs["attack as a CUDA graph"] = captured(attack)
    except RuntimeError as error:
        print(f"The attack could not be captured: {error}")
    took, most = timed(runs, args.rounds), ceilings()
    operations = sum(samples.passes) * PASS
    shares = {
        name: {
            "seconds": quartiles(took[name]),
            "share of bf16 product": round(operations / min(took[name]) / most["bf16 FLOP/s"], 4),
            "share of the net's convolutions": round(
                operations / min(took[name]) / most["bf16 FLOP/s, convolutions of stage 1"], 4
            ),
        }
        for name in took
        if name.startswith("attack")
    }
    found = {name: ratio(took["published"], took[name]) for name in [*made, *single]}
    steps = {name: quartiles(took[name]) for name in ["published", *found]}
    given_up = {method: training.graph.given_up for method, training in made.items() if training.graph}
    write_result(
        args.out,
        begun,
        what=__doc__,
        **{
            "published step over ours": found,
            "seconds a step": steps,
            "why a graph is not used": given_up,
            "three kernels over one that joins them": joined(),
        },
        attack=shares,
        ceilings=most,
    )
    for name, row in found.items():
        print(f"{row['median']:6.1f} x the published step: {name}")
    print(shares, given_up, sep="\n")


if __name__ == "__main__":
    main()
