"""Does AMKD help where distillation matters? 2,000 CIFAR-10 images, 60 epochs or fewer, last-epoch test accuracy.

    python -m benchmarks.cifar10_small --root DATA --teacher resnet26_cifar10.safetensors

ResNet-26 teacher (92.55 %), ResNet-8 student, AMKD with the defaults that ``benchmarks.amkd_grid`` chose on validation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from amkd_viz.objectives import methods

from .students import cifar10_small, summarise, train_all, write_result

TABLE = "ce,kd,bss,triplet-kd,amkd,amkd-student,amkd-calibrated"  # of the README


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--teacher", required=True, help="safetensors file of the ResNet-26")
    parser.add_argument("--methods", default=TABLE, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cifar10_small.json"))
    args = parser.parse_args()
    begun = time.time()

    names = args.methods.split(",")
    recipes = {
        f"{method} seed {seed}": cifar10_small(args.root, args.teacher, args.epochs, method=method, seed=seed)
        for seed in range(args.seeds)
        for method in names
    }
    rows = train_all(recipes, args.out, args.workers)
    results = {m: summarise([row for row in rows if row["label"].rpartition(" seed ")[0] == m]) for m in names}
    objectives = {method: str(methods[method]()) for method in names}
    recipe = next(iter(recipes.values())).to_json() | {"root": "DATA", "teacher": Path(args.teacher).name}
    write_result(args.out, begun, what=__doc__, objectives=objectives, recipe=recipe, rows=rows, results=results)
    for method, row in results.items():
        accuracy = row["test_accuracy"]
        print(f"{method:16s} {accuracy['mean']:.2%}  sd {accuracy['sd'] or 0:.2%}")


if __name__ == "__main__":
    main()
