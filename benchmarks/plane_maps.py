"""Coarse-to-fine plane maps against exact ones: how many evaluations are saved, and how many cells differ.

    python -m benchmarks.plane_maps --root DATA --teacher resnet26_cifar10.safetensors

Planes through CIFAR-10 test images: half of them through a base image, its boundary sample and a negative, half
through three images of different classes. Each finished plane is a line of OUT.jsonl, so a stopped command goes on.
With --keep FOLDER the exact maps, which take nearly all of the time, are written there and read again: a change of the
adaptive map is measured in a minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from amkd_viz.boundary import bss, sample_targets
from amkd_viz.core.rng import generator
from amkd_viz.data import Dataset, load
from amkd_viz.models import Classifier, inference_copy, load_teacher
from amkd_viz.views.planes import Plane
from amkd_viz.views.slices import plane_area, plane_regions

from .students import write_result


def anchors(net: Classifier, dataset: Dataset, plane: int) -> tuple[str, Tensor]:
    """What plane number ``plane`` goes through, a function of the number alone."""
    chance = generator("cpu", "plane_maps", plane)
    x, y = dataset.test.floats(i := torch.randperm(len(dataset.test), generator=chance)[:50]), dataset.test.y[i]
    base, other = x[:1], x[y != y[0]]
    if plane % 2:
        return "three images", torch.cat([base, other[:2]])
    with torch.no_grad():
        logits = net(base)
    found = bss(net, base, sample_targets(logits, chance), step_size=0.3)
    negative = x[(y != found.base) & (y != found.target)][:1]
    return "boundary sample", torch.cat([base, found.x, negative])


def measure(net: Classifier, dataset: Dataset, plane: int, resolution: int, keep: Path | None) -> dict[str, Any]:
    """One plane, both ways; the exact classes (R, R) are read from or written to ``keep``."""
    kind, images = anchors(net, dataset, plane)
    frame = Plane.through(images)
    area = plane_area(frame)
    begun = time.perf_counter()
    fine = plane_regions(net, frame, area, resolution)
    between = time.perf_counter()
    kept = None if keep is None else keep / f"plane-{plane}-{resolution}.npz"
    if kept is not None and kept.exists():
        exact, seconds = (np.load(kept)[name] for name in ("winner", "seconds"))
    else:
        exact = plane_regions(net, frame, area, resolution, exact=True).decisions.winner
        seconds = time.perf_counter() - between
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(kept, winner=exact, seconds=seconds)
    return {
        "plane": plane,
        "kind": kind,
        "resolution": resolution,
        "regions": len(set(exact.ravel().tolist())),
        "evaluations": fine.evaluations,
        "ratio": resolution**2 / fine.evaluations,
        "agreement": float((fine.decisions.winner == exact).mean()),
        "seconds": between - begun,
        "exact_seconds": float(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--planes", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=200)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--keep", type=Path, help="folder for the exact maps")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/plane_maps.json"))
    args = parser.parse_args()
    begun = time.time()

    dataset = load("cifar10", root=args.root)
    net = inference_copy(load_teacher(args.teacher)).to(memory_format=torch.channels_last)
    partial = args.out.with_suffix(".jsonl")
    partial.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in partial.read_text().splitlines()] if partial.exists() else []
    rows = [row for row in rows if row["resolution"] == args.resolution and row["plane"] < args.planes]
    begun -= sum(row["seconds"] + row["exact_seconds"] for row in rows)  # of an earlier start
    with partial.open("a") as file:
        for plane in range(args.planes):
            if plane not in {row["plane"] for row in rows}:
                rows.append(measure(net.to(args.device), dataset.to(args.device), plane, args.resolution, args.keep))
                file.write(json.dumps(rows[-1]) + "\n")
                file.flush()
                print({name: rows[-1][name] for name in ("plane", "ratio", "agreement", "exact_seconds")}, flush=True)
    told = {}
    for name, worst in (("ratio", min), ("agreement", min), ("seconds", max), ("exact_seconds", max)):
        values = [row[name] for row in rows]
        told[name] = {"median": statistics.median(values), "worst": worst(values)}
    write_result(args.out, begun, what=__doc__, planes=len(rows), resolution=args.resolution, results=told, rows=rows)
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
