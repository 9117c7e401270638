"""How long SampleLab takes for the plane of a CIFAR-10 image, ResNet-26 and ResNet-8, coarse and fine.

    python -m benchmarks.cifar_plane --root DATA --teacher resnet26_cifar10.safetensors

In the kernel, from the choice of an image (and, apart, from the moment when its attack was shown) to the frame that is
sent to the page, which draws it some 30 ms later. The student's weights are not trained: the cost is the same.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amkd_viz.data import load
from amkd_viz.models import build, load_teacher
from amkd_viz.panels import SampleLab

from .students import write_result
from .timing import host

GOALS = {"first picture": 500, "full map": 2000}


def measure(root: str, teacher: str, picks: int) -> dict[str, Any]:
    data = load("cifar10", root=root)
    lab = SampleLab(teacher=load_teacher(teacher), student=build("resnet8", data, seed=0), dataset=data)
    lab.wait(300)
    frames: list[float] = []
    walks: list[float] = []
    lab.canvas.observe(lambda _: frames.append(time.perf_counter()), names="frame")
    lab.walk.observe(lambda _: walks.append(time.perf_counter()), names="frame")
    rows: list[dict[str, float]] = []
    for index in data.test.index[100 : 100 + picks + 1].tolist():
        frames.clear()
        walks.clear()
        begun = time.perf_counter()
        lab.pick(index)
        lab.wait(300)
        if frames:  # no plane goes through an image that the attack did not move
            shown = walks[0] if walks else begun
            times = {"attack shown": shown - begun, "first picture": frames[0] - shown, "full map": frames[-1] - shown}
            rows.append({name: 1000 * value for name, value in times.items()})
    lab.close()
    told = {}
    for name in rows[0]:
        values = [row[name] for row in rows[1:]]
        told[name] = {"p50": round(float(np.median(values)), 1), "p95": round(float(np.percentile(values, 95)), 1)}
        told[name] |= {"worst": round(max(values), 1), "n": len(values)}
        if name in GOALS:
            told[name] |= {"goal": GOALS[name], "met": told[name]["p95"] <= GOALS[name]}
    return {"unit": "ms", "results": told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--picks", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cifar_plane.json"))
    args = parser.parse_args()
    begun, load_before = time.time(), os.getloadavg()[0]
    found = measure(args.root, args.teacher, args.picks)
    write_result(args.out, begun, what=__doc__, host=host(torch.get_num_threads()), load=load_before, **found)
    for name, row in found["results"].items():
        print(f"{name}: p50 {row['p50']} ms, p95 {row['p95']} ms, n = {row['n']}")


if __name__ == "__main__":
    main()
