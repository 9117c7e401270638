"""Choose AMKD's defaults on the validation split: one setting varied at a time around the centre.

    python -m benchmarks.amkd_grid --root DATA --teacher resnet26_cifar10.safetensors

2,000 CIFAR-10 training images, ResNet-26 teacher, ResNet-8 student. The test split is not looked at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .students import cifar10_small, summarise, train_all, write_result

CENTRE = {"mining": "all", "embedding": "logit", "margin": 0.5, "scale": 1.0}
AROUND: dict[str, list[object]] = {
    "mining": ["semi-hard", "random", "hard"],
    "embedding": ["prob", "feature"],
    "margin": [0.2, 1.0],
    "scale": [0.3, 2.0],
}


def settings() -> dict[str, dict[str, object]]:
    """Label -> changes of the boundary_triplet term. ``bss`` is the sum without it, the thing to beat."""
    grid: dict[str, dict[str, object]] = {"bss": {}, "centre": CENTRE}
    for name, values in AROUND.items():
        grid |= {f"{name}={value}": {**CENTRE, name: value} for value in values}
    return grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--settings", default=",".join(settings()), help="some of: %(default)s")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/amkd_grid.json"))
    args = parser.parse_args()
    begun = time.time()

    chosen = {label: settings()[label] for label in args.settings.split(",")}
    recipes = {}
    for seed in range(args.seeds):
        for label, changes in chosen.items():
            recipes[f"{label} seed {seed}"] = cifar10_small(
                args.root,
                args.teacher,
                args.epochs,
                method="amkd" if changes else "bss",
                overrides={f"boundary_triplet.{name}": value for name, value in changes.items()},
                seed=seed,
                magsim_samples=0,
            )
    rows = train_all(recipes, args.out, args.workers)
    table = {}
    for label in chosen:
        own = [row for row in rows if row["label"].startswith(f"{label} seed ")]
        # chosen on validation: test numbers of the grid are not reported, so they cannot influence the choice
        table[label] = {k: v for k, v in summarise(own).items() if k in ("seeds", "val_accuracy")}
    table = dict(sorted(table.items(), key=lambda item: -item[1]["val_accuracy"]["mean"]))
    write_result(args.out, begun, what=__doc__, recipe=next(iter(recipes.values())).to_json(), results=table)
    for label, row in table.items():
        print(f"{label:20s} {row['val_accuracy']['mean']:.2%}  sd {row['val_accuracy']['sd'] or 0:.2%}")


if __name__ == "__main__":
    main()
