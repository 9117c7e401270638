"""How the cost of an adaptive plane map grows with its resolution: with the boundary's length, or with the area?

    python -m benchmarks.map_scaling --root DATA --teacher resnet26_cifar10.safetensors

Evaluations by resolution; how far the map equals the exact one is asked at random cells.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from amkd_viz.data import load
from amkd_viz.models import inference_copy, load_teacher
from amkd_viz.views.decisions import logits_at
from amkd_viz.views.planes import Plane
from amkd_viz.views.slices import cell_centres, plane_area, plane_regions

from .plane_maps import anchors
from .students import write_result
from .timing import host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--planes", type=int, default=2)
    parser.add_argument("--resolutions", default="100,200,400,800,1600")
    parser.add_argument("--cells", type=int, default=2000, help="random cells to compare with the net's own answer")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/map_scaling.json"))
    args = parser.parse_args()
    begun = time.time()
    torch.set_num_threads(1)
    dataset = load("cifar10", root=args.root)
    net = inference_copy(load_teacher(args.teacher)).to(memory_format=torch.channels_last)
    rows, chance = [], np.random.default_rng(0)
    for plane in range(args.planes):
        kind, images = anchors(net, dataset, plane)
        frame = Plane.through(images)
        area = plane_area(frame)
        for side in map(int, args.resolutions.split(",")):
            found = plane_regions(net, frame, area, side)
            cells = chance.integers(side, size=(args.cells, 2))
            told = logits_at(net, frame.images(cell_centres(area, side, cells))).argmax(1).cpu().numpy()
            rows.append(
                {
                    "plane": plane,
                    "kind": kind,
                    "resolution": side,
                    "evaluations": found.evaluations,
                    "ratio": round(side**2 / found.evaluations, 2),
                    "evaluations per row": round(found.evaluations / side, 2),
                    "equal cells": float((found.decisions.winner[cells[:, 0], cells[:, 1]] == told).mean()),
                }
            )
            print(rows[-1], flush=True)
    by = {}
    for side in map(int, args.resolutions.split(",")):
        own = [row for row in rows if row["resolution"] == side]
        by[side] = {
            name: statistics.fmean(row[name] for row in own)  # type: ignore[misc]
            for name in ("ratio", "evaluations per row", "equal cells")
        }
    write_result(args.out, begun, what=__doc__, host=host(1), cells=args.cells, by_resolution=by, rows=rows)
    print(json.dumps(by, indent=2))


if __name__ == "__main__":
    main()
