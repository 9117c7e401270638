"""``make bench``: what needs no data and takes seconds. The others: ``python -m benchmarks.NAME --help``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import attack


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:  # random weights: nothing to keep beside the measured results
        sys.argv = ["attack", *sys.argv[1:], "--out", str(Path(folder) / "attack.json")]
        attack.main()
    names = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py") if "def main" in p.read_text())
    print(f"With real data: python -m benchmarks.NAME --help, NAME one of {', '.join(names)}.")


if __name__ == "__main__":
    main()
