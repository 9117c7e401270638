"""Do two versions of the library train the same students? The same recipes in each, compared weight by weight.

    python -m benchmarks.versions [--rev a74dce7] [--epochs 5] [--methods ce,kd] [--out versions.json]

Trains some methods on digits and spirals, with seed 0, in a checkout of the older version; opens its runs with this
one, trains their recipes again with the same teachers, and compares the weights of the students. The figures are not
among the results: processors differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from amkd_viz import Run, distill
from amkd_viz.objectives.methods import OURS

TRAIN = """
import sys
from amkd_viz import distill
from amkd_viz.training.examples import DIGITS, SPIRALS
for name, base in (("digits", DIGITS), ("spirals", SPIRALS)):
    for method in sys.argv[2].split(","):
        recipe = base.replace(method=method, seed=0, epochs=int(sys.argv[1]), device="cpu")
        distill(recipe, f"{name}-{method}")
"""


def compared(old: Run, teachers: Path, folder: Path) -> dict[str, Any]:
    """Train the recipe of a run again with its teacher; return how far both students are apart."""
    (teacher,) = [
        *teachers.glob(f"{old.recipe.dataset}-*.safetensors"),
        *teachers.glob(f"{old.recipe.dataset}-*/student.*"),
    ]
    new = distill(old.recipe.replace(teacher=str(teacher)), folder)
    before, now = (run.student().state_dict() for run in (old, new))
    return {
        "recipe": repr(old.recipe),
        "test_accuracy": [run.summary["test_accuracy"] for run in (old, new)],
        "weights_apart": max(float((x.double() - now[name].double()).abs().max()) for name, x in before.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rev", default="a74dce7", help="the older version (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--methods", default=",".join(OURS), help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="a JSON file for the comparison")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tree, runs = Path(name) / "tree", Path(name) / "runs"
        runs.mkdir()
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), args.rev], check=True, capture_output=True)
        try:
            own = {**os.environ, "PYTHONPATH": str(tree), "AMKD_VIZ_CACHE": f"{name}/old"}
            subprocess.run([sys.executable, "-c", TRAIN, str(args.epochs), args.methods], cwd=runs, env=own, check=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], check=True)
        os.environ["AMKD_VIZ_CACHE"] = f"{name}/new"
        found = {}
        for path in sorted(runs.iterdir()):
            found[path.name] = compared(Run.open(path), Path(name) / "old/teachers", Path(name) / f"again-{path.name}")
            print(f"{path.name:24s} {found[path.name]['weights_apart']}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
